"""The frames that wait for a replica: who is served next, fairly between sources, and with whom together."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator

from posestream.pipeline.dispatch.in_flight import FrameInFlight, Size

__all__ = ["Waiting"]


class Waiting:
    """Frames in the order in which they are served: first those that come again, then one of each source in turn.

    Frames of one source keep their order. Those that ended while they waited are passed over.
    """

    def __init__(self) -> None:
        #: Frames that come back from lost replicas; they go ahead of all others.
        self._again: deque[FrameInFlight] = deque()
        #: New frames by source; none of a source that has none, since sources come and go.
        self._new: dict[str, deque[FrameInFlight]] = {}
        #: Sources with new frames, the next one to be served first.
        self._turns: deque[str] = deque()

    def __repr__(self) -> str:
        return f"<Waiting again={len(self._again)} new={sum(map(len, self._new.values()))}>"

    def add(self, frame: FrameInFlight) -> None:
        """Let a new frame wait."""
        name = frame.key.source
        self._new.setdefault(name, deque()).append(frame)
        if name not in self._turns:
            self._turns.append(name)

    def add_again(self, frame: FrameInFlight) -> None:
        """Let a frame wait that was given to a replica before."""
        self._again.append(frame)

    def batches(self, most: int) -> Iterator[list[FrameInFlight]]:
        """Give what can be served together, at most so many frames each: one batch per size, the next one first.

        A frame that is on trial is alone.
        """
        self._pass_over_ended()
        seen: set[Size] = set()
        for first in itertools.chain(self._again, [self._new[name][0] for name in self._turns]):
            if first.is_on_trial or most == 1:
                yield [first]
            elif first.size not in seen:
                seen.add(first.size)
                yield list(itertools.islice(self._of_size(first.size), most))

    def take(self, frames: Iterable[FrameInFlight]) -> None:
        """Let frames wait no more that `batches` gave, in its order: their sources go to the end of the line."""
        for frame in frames:
            name = frame.key.source
            if frame in self._again:
                self._again.remove(frame)
                continue
            queue = self._new[name]
            while queue.popleft() is not frame:
                continue  # it ended while it waited
            self._turns.remove(name)
            if queue:
                self._turns.append(name)
            else:
                del self._new[name]

    def _of_size(self, size: Size) -> Iterator[FrameInFlight]:
        """Go through the frames of one size in the order of service, as far as no other of their source is before."""
        for frame in self._again:
            if frame.size == size and frame.is_waiting and not frame.is_on_trial:
                yield frame
        lines = [
            itertools.takewhile(lambda frame: frame.size == size, (f for f in self._new[name] if f.is_waiting))
            for name in self._turns
        ]
        for row in itertools.zip_longest(*lines):
            yield from (frame for frame in row if frame is not None)

    def _pass_over_ended(self) -> None:
        """Let what ended while it waited be first nowhere."""
        if not all(frame.is_waiting for frame in self._again):
            self._again = deque(frame for frame in self._again if frame.is_waiting)
        for name in [name for name in self._turns if not self._new[name][0].is_waiting]:
            queue = self._new[name]
            while queue and not queue[0].is_waiting:
                queue.popleft()
            if not queue:
                self._turns.remove(name)
                del self._new[name]
