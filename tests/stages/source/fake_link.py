"""A connection that does what a test says: the stand-in at the seam for cameras, servers and lines."""

from __future__ import annotations

import queue
import threading
from fractions import Fraction

import numpy as np

from posestream.stages.color import ColorTags
from posestream.stages.items import Frame, FrameKey
from posestream.stages.picture import ArrayPicture
from posestream.stages.source.link import Link
from posestream.stages.source.protocol import SourceInfo

#: Nothing here takes longer; a test that waits so long has lost a wake-up.
DEADLINE_S = 30.0

INFO = SourceInfo(
    name="inner",
    width=64,
    height=48,
    rate=Fraction(25),
    frame_count=None,
    duration_s=None,
    is_live=True,
    time_base=Fraction(1, 1000),
    path=None,
    sample_aspect_ratio=None,
    color=ColorTags.of_size(64, 48),
    keeps_newest=False,
    max_age_s=0.5,
)


class FakeConnection:
    """One connection: gives what it is fed, and hangs in between until it is fed again."""

    def __init__(self, clock, info=INFO):
        self._clock = clock
        self._info = info
        self._fed = queue.Queue()
        self._count = 0
        self.link = Link()
        self.is_open = threading.Event()
        self.is_closed = threading.Event()
        self.name, self.is_live = "inner", True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_closed.set()

    def feed(self, *pts_ms):
        """Let frames of these times come."""
        for pts in pts_ms:
            self._fed.put(pts)

    def end(self, error=None):
        """Let the connection end, in an error or not."""
        self._fed.put(error)

    def open(self):
        """Open at once, or raise what was fed as an error."""
        self.is_open.set()
        first = self._fed.get(timeout=DEADLINE_S)
        if isinstance(first, BaseException):
            raise first
        self._first = first
        return self._info

    def frames(self):
        """Give a frame for each time, until an end is fed."""
        pts = self._first
        while isinstance(pts, int):
            stamp = self._clock()
            picture = ArrayPicture(np.full((48, 64, 3), self._count % 250, np.uint8))
            key = FrameKey("inner", self._count)
            yield Frame(key, 0, pts, Fraction(1, 1000), stamp.mono_s, stamp.wall_s, 64, 48, picture)
            self._count += 1
            pts = self._fed.get(timeout=DEADLINE_S)
        if pts is not None:
            raise pts


class FakeLine:
    """Makes one connection after another, and hands each to the test as it is made."""

    def __init__(self, info=INFO):
        self.info = info
        self._made = queue.Queue()
        self.count = 0

    def connect(self, clock):
        """Make a connection: what a live source asks for."""
        made = FakeConnection(clock, self.info)
        self.count += 1
        self._made.put(made)
        return made

    def next(self):
        """Wait for the next connection."""
        return self._made.get(timeout=DEADLINE_S)
