"""Which frames of a source are taken: every so many, and at most so many a second."""

from __future__ import annotations

__all__ = ["FrameGate"]

#: A frame that comes this part of an interval too early is taken: timestamps are rounded, and cameras jitter.
_EARLY = 0.1


class FrameGate:
    """Decides frame by frame; the first one is always taken.

    Args:
        step: every so many frames one is taken.
        fps: at most so many of those a second of the source's clock; None: all of them.
    """

    def __init__(self, step: int = 1, fps: float | None = None) -> None:
        self._step = step
        self._interval_s = 1 / fps if fps else 0.0
        self._seen = 0
        self._due_s: float | None = None

    def takes(self, pts_s: float | None) -> bool:
        """True if this frame is taken; frames without a time are not limited by it."""
        is_step = self._seen % self._step == 0
        self._seen += 1
        if not is_step:
            return False
        if not self._interval_s or pts_s is None:
            return True
        due_s = self._due_s
        if due_s is not None and due_s - 2 * self._interval_s < pts_s < due_s - _EARLY * self._interval_s:
            return False
        # What is late does not make the next ones early, nor does a clock that jumped: the grid begins anew there.
        is_on_grid = due_s is not None and abs(pts_s - due_s) < self._interval_s
        self._due_s = (due_s if is_on_grid and due_s is not None else pts_s) + self._interval_s
        return True
