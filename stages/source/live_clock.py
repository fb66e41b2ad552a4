"""A live source's clock, rebased: it never runs backwards within an epoch, and jumps become what really passed."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["LIVE_TIME_BASE", "LiveClock"]

#: Seconds per unit of a live frame's time: RTP's and MPEG-TS's own, so that theirs stay exact.
LIVE_TIME_BASE = Fraction(1, 90_000)
#: A source's clock that runs ahead of this host's by more, from one frame to the next, has jumped.
_JUMP_S = 10.0


class LiveClock:
    """Gives each frame its time in units of `LIVE_TIME_BASE`, 0 for the very first one.

    Within an epoch frames keep the distances that the source gave them. At a reconnect, and where the source's clock
    jumps, it goes on after the time that passed on this host.
    """

    def __init__(self) -> None:
        self._epoch = -1
        #: What is added to the source's seconds.
        self._offset_s = Fraction(0)
        self._last: tuple[Fraction, float, int] | None = None

    def ticks(self, source_s: Fraction | None, captured_s: float, epoch: int) -> int:
        """Give a frame's time; `captured_s` is the host's monotonic clock, None a frame that tells no time."""
        if self._last is None:
            given_s, ticks = source_s or Fraction(0), 0
            self._offset_s = -given_s
        else:
            last_s, last_captured_s, last_ticks = self._last
            passed_s = max(0.0, captured_s - last_captured_s)
            passed_ticks = last_ticks + max(1, round(passed_s / LIVE_TIME_BASE))
            given_s = last_s + Fraction(passed_s) if source_s is None else source_s
            if epoch != self._epoch or not 0 < given_s - last_s <= passed_s + _JUMP_S:
                self._offset_s = passed_ticks * LIVE_TIME_BASE - given_s
            ticks = max(last_ticks + 1, round((given_s + self._offset_s) / LIVE_TIME_BASE))
        self._epoch = epoch
        self._last = (given_s, captured_s, ticks)
        return ticks
