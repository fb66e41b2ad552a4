"""Where a reader thread leaves what came off a live source: bounded, and where that is wished, one picture."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from posestream.stages.items import Frame, Reason
from posestream.stages.source.protocol import SourceInfo
from posestream.stages.source.stamp import Stamp, now

__all__ = ["Mailbox"]

#: Frames with pictures that wait where every one of them is wanted: a third of a second, 50 MB of 1080p at most.
_MOST_PICTURES = 8
#: Frames without pictures that wait to be told as dropped: minutes of them, a few MB.
_MOST_LOST = 10_000


class Mailbox:
    """Carries one connection's frames from its reader to the source.

    Args:
        changed: guards everything here, and is notified of every change.
        clock: reads both clocks.
        is_held: True while the reader shall read nothing; `changed` is notified when that changes.
    """

    def __init__(
        self,
        changed: threading.Condition,
        clock: Callable[[], Stamp] = now,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._changed = changed
        self._clock = clock
        self._is_held = is_held
        self._held_s = 0.0
        self._frames: deque[Frame] = deque()
        self._keeps_newest = False
        self._is_closed = False
        #: What the source tells of itself, once it is open.
        self.info: SourceInfo | None = None
        #: True once nothing more comes, and what the reason was, if it was an error.
        self.has_ended = False
        self.error: BaseException | None = None
        #: When anything last came off the source, in seconds of the monotonic clock.
        self.heard_s: float | None = None

    def __repr__(self) -> str:
        return f"<Mailbox {len(self._frames)} frames, closed={self._is_closed}, ended={self.has_ended}>"

    # the reader's side

    def stamp(self) -> Stamp:
        """Read both clocks, and note that something came; not before the reader is held no more."""
        if self._is_held():
            self._wait_while_held()
        stamp = self._clock()
        self.heard_s = stamp.mono_s
        return Stamp(stamp.mono_s, stamp.wall_s, self._held_s)

    def opened(self, info: SourceInfo) -> None:
        """Tell that the source is open."""
        with self._changed:
            self.info = info
            self._keeps_newest = info.keeps_newest
            self._changed.notify_all()

    def put(self, frame: Frame) -> bool:
        """Leave a frame; where the newest wins, the one before loses its picture. False once nobody wants any."""
        with self._changed:
            while self._is_full and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return False
            if self._keeps_newest and self._frames and self._frames[-1].picture is not None:
                self._frames.append(replace(self._frames.pop(), picture=None, lost=Reason.NEWER))
            self._frames.append(frame)
            self._changed.notify_all()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """Tell that nothing more comes."""
        with self._changed:
            self.has_ended, self.error = True, error
            self._changed.notify_all()

    # the source's side, which holds `changed`

    def take(self) -> Frame | None:
        """Take the oldest frame; None where there is none now."""
        with self._changed:
            frame = self._frames.popleft() if self._frames else None
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """Want no more than what is there: the reader ends when it comes by."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _wait_while_held(self) -> None:
        with self._changed:
            began_s = self._clock().mono_s
            self._changed.wait_for(lambda: self._is_closed or not self._is_held())
            self._held_s += self._clock().mono_s - began_s

    @property
    def _is_full(self) -> bool:
        return len(self._frames) >= (_MOST_LOST if self._keeps_newest else _MOST_PICTURES)
