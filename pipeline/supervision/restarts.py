"""How often a part may be started again: a budget per window, with growing pauses."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Restarts"]


class Restarts:
    """Counts the failures of one part and says when it may be started again.

    Args:
        budget: restarts within the window; one more is too many.
        window_s: how long a failure counts, in seconds.
        pause_s: the pause after the first failure; each further one within the window doubles it.
        longest_s: the longest pause.
    """

    def __init__(
        self, budget: int = 5, window_s: float = 60.0, pause_s: float = 0.1, longest_s: float = math.inf
    ) -> None:
        self._budget = budget
        self._window_s = window_s
        self._pause_s = pause_s
        self._longest_s = longest_s
        self._failures: deque[float] = deque()
        self.total = 0

    def __repr__(self) -> str:
        return f"<Restarts {len(self._failures)} of {self._budget} in {self._window_s:g} s, {self.total} in all>"

    def failed(self, now_s: float) -> float | None:
        """Note a failure; give the time when the part may be started again, None if it failed too often."""
        while self._failures and now_s - self._failures[0] > self._window_s:
            self._failures.popleft()
        self._failures.append(now_s)
        if len(self._failures) > self._budget:
            return None
        self.total += 1
        pauses = len(self._failures) - 1
        return now_s + (min(self._longest_s, self._pause_s * 2 ** (pauses - 1)) if pauses else 0.0)
