"""Tells when an inference, or the grouping of a frame, has not ended for so long that it never will."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from posestream.stages.items import FrameKey

__all__ = ["Vigil"]

#: How long the first inferences at a size may take, in seconds: as long as a replica may load. Libraries plan, tune and
#: compile in them.
_FIRST_S = 180.0
#: Beyond that, and beyond `hang_s`, one takes as much longer than the longest one before as a machine that is too
#: busy lets it.
_TIMES_LONGEST = 10.0
#: Longest time that counts between two looks, in seconds: a work loop that was stopped, or compiled, could not have
#: taken what was done meanwhile.
_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class _Inference:
    key: FrameKey
    size: tuple[int, int]
    begun_s: float


class Vigil:
    """Learns how long inferences and grouping take, on a clock that goes on only while somebody looks.

    Args:
        hang_s: what is granted beyond ten times the longest, in seconds.
    """

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        self._now_s = 0.0
        self._looked_s: float | None = None
        self._running: dict[int, _Inference] = {}
        #: By size of the picture; none before the first has ended.
        self._longest_s: dict[tuple[int, int], float] = {}
        self._grouping: deque[FrameKey] = deque()
        #: Since when the first of them is all that grouping has to do.
        self._grouping_since_s = 0.0
        self._longest_grouping_s = 0.0

    def __repr__(self) -> str:
        return f"<Vigil running={len(self._running)} grouping={len(self._grouping)}>"

    def look(self, now_s: float) -> None:
        """Note the time of a monotonic clock: the work loop goes round."""
        if self._looked_s is not None:
            self._now_s += min(now_s - self._looked_s, _STEP_S)
        self._looked_s = now_s

    def begun(self, ticket: int, key: FrameKey, size: tuple[int, int]) -> None:
        """Note that the engine has a frame's picture of this height and width."""
        self._running[ticket] = _Inference(key, size, self._now_s)

    def ended(self, ticket: int, *, has_failed: bool = False) -> None:
        """Note that the engine has done with it; one that failed tells nothing of how long it takes."""
        inference = self._running.pop(ticket)
        if not has_failed:
            took_s = self._now_s - inference.begun_s
            self._longest_s[inference.size] = max(took_s, self._longest_s.get(inference.size, 0.0))

    def grouping(self, key: FrameKey) -> None:
        """Note that grouping was given a frame; it does one after the other."""
        if not self._grouping:
            self._grouping_since_s = self._now_s
        self._grouping.append(key)

    def grouped(self) -> None:
        """Note that the first of those frames was grouped."""
        self._grouping.popleft()
        self._longest_grouping_s = max(self._now_s - self._grouping_since_s, self._longest_grouping_s)
        self._grouping_since_s = self._now_s

    def overdue(self) -> str:
        """Name what hangs; empty if nothing does."""
        for inference in self._running.values():
            longest_s = self._longest_s.get(inference.size)
            patience_s = max(_FIRST_S, self._hang_s) if longest_s is None else self._granted(longest_s)
            if self._now_s - inference.begun_s > patience_s:
                return self._told("inference", inference.key, inference.begun_s)
        if self._grouping and self._now_s - self._grouping_since_s > self._granted(self._longest_grouping_s):
            return self._told("grouping", self._grouping[0], self._grouping_since_s)
        return ""

    def _granted(self, longest_s: float) -> float:
        return self._hang_s + _TIMES_LONGEST * longest_s

    def _told(self, what: str, key: FrameKey, since_s: float) -> str:
        return f"the {what} of frame {key.seq} of {key.source} has not ended for {self._now_s - since_s:.0f} s"
