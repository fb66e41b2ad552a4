"""What the threads of one lane share: the frame store, the source's facts, progress and the signals between them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from posestream.pipeline.lane.store import FrameStore
from posestream.pipeline.latency import STAGES, LatencyHistogram
from posestream.pipeline.wire.messages import Dropped, Posed
from posestream.stages.items import Frame
from posestream.stages.source.opening import SourceInfo

__all__ = ["POLL_MS", "FrameRate", "LaneProgress", "LaneState"]

_log = logging.getLogger(__name__)

#: How often a thread that waits looks whether it shall stop, in milliseconds.
POLL_MS = 100
#: Frames in flight beside those that replicas hold: being decoded, scaled, put in order and written.
_WINDOW_OF_LANE = 4
#: How long a source may take to give one more frame, or to open, when no more is wanted of it, in seconds.
_LEAVE_S = 1.0
#: Frames over which the frame rate is taken.
_RATE_FRAMES = 30


@dataclass(slots=True)
class LaneProgress:
    """What a lane has seen; each field and histogram is written by one thread, and read by others."""

    ended: int = 0
    posed: int = 0
    people: int = 0
    first_result_s: float | None = None
    last_result_s: float | None = None
    #: Durations by stage.
    latency: dict[str, LatencyHistogram] = field(default_factory=lambda: {name: LatencyHistogram() for name in STAGES})

    def note(self, frame: Frame, message: Posed | Dropped, now_s: float) -> None:
        """Count an ended frame."""
        self.ended += 1
        self.first_result_s = now_s if self.first_result_s is None else self.first_result_s
        self.last_result_s = now_s
        if isinstance(message, Posed):
            self.posed += 1
            self.people += message.people
            self.latency["total"].add(now_s - frame.captured_mono_s)
            self.latency["infer"].add(message.infer_s)
            self.latency["group"].add(message.group_s)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count how long something takes as that stage's."""
        started_s = time.perf_counter()
        yield
        self.latency[stage].add(time.perf_counter() - started_s)


class FrameRate:
    """Frames per second over the last few frames."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=_RATE_FRAMES)

    def note(self, now_s: float) -> float:
        """Count a frame and give the rate; 0 with the first one."""
        self._times_s.append(now_s)
        span_s = now_s - self._times_s[0]
        return (len(self._times_s) - 1) / span_s if span_s > 0 else 0.0


class LaneState:
    """Shared by a lane's threads. Each field is written by one of them.

    Args:
        window: frames in flight at most; 0: as many as keep the replicas busy.
    """

    def __init__(self, window: int) -> None:
        self._is_fixed = window > 0
        self.store = FrameStore(window or _WINDOW_OF_LANE)
        self.progress = LaneProgress()
        #: Set when it is known where the source begins, or that it cannot be opened.
        self.has_begun = threading.Event()
        #: The number of the first message.
        self.first_n = 0
        #: Set when the dispatcher knows the lane.
        self.may_begin = threading.Event()
        #: Set while no frames are wanted: a recording waits, a camera's connection is dropped.
        self.paused = threading.Event()
        #: Set when no more frames shall be taken.
        self.stopping = threading.Event()
        #: Set when the source is read no more.
        self.has_read = threading.Event()
        #: Set when the lane ends without waiting for its source, which hangs.
        self.has_left_source = threading.Event()
        self._stopped_s: float | None = None
        #: Set when every frame has ended.
        self.is_done = threading.Event()
        self._info: SourceInfo | None = None

    def widen(self, credit: int) -> None:
        """Have room for what the replicas can hold, beside what the lane itself works on."""
        if not self._is_fixed:
            self.store.resize(credit + _WINDOW_OF_LANE)

    def stop(self) -> None:
        """Take no more frames."""
        self._stopped_s = self._stopped_s or time.monotonic()
        self.stopping.set()

    def leave_source(self, name: str) -> bool:
        """Go on without the source if it hangs although it shall stop; tell whether it was left."""
        if self._stopped_s is None or self.has_read.is_set() or time.monotonic() - self._stopped_s < _LEAVE_S:
            return False
        _log.warning("%s does not answer; it is not waited for", name)
        self.has_left_source.set()
        return True

    @property
    def is_source_open(self) -> bool:
        """True once the source's facts are known."""
        return self._info is not None

    @property
    def info(self) -> SourceInfo:
        """The source's facts; whoever has a frame of it has them too."""
        if self._info is None:
            raise RuntimeError("the source has not been opened")
        return self._info

    def begin(self, info: SourceInfo, first_n: int) -> None:
        """Note where the source begins."""
        self._info = info
        self.first_n = first_n
        self.has_begun.set()
