"""A live source's clock, rebased: it never runs backwards within an epoch, and jumps become what really passed."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["LIVE_TIME_BASE", "LiveClock"]

#: Seconds per unit of a live frame's time: RTP's and MPEG-TS's own, so that theirs stay exact.
LIVE_TIME_BASE = Fraction(1, 90_000)
#: A source's clock that gains more on this host's from one frame to the next has jumped, in seconds; what the frames
#: before were late by is no gain.
_JUMP_S = 1.0
#: How much of the lateness is forgotten in a second: clocks that drift apart are no lateness.
_FORGOTTEN = 0.001


class LiveClock:
    """Gives each frame its time in units of `LIVE_TIME_BASE`, 0 for the very first one.

    Within an epoch frames keep the distances that the source gave them. At a reconnect, and where the source's clock
    jumps, it goes on after the time that passed on this host. Frames that a stall held up and that come in a burst are
    no jump: they bring the source's clock no further ahead than it was before.
    """

    def __init__(self) -> None:
        self._epoch = -1
        #: What is added to the source's seconds.
        self._offset_s = Fraction(0)
        self._last: tuple[Fraction, float, int] | None = None
        #: How far the source's clock was ahead of this host's at most, of late, in seconds.
        self._lead_s = 0.0

    def ticks(self, source_s: Fraction | None, captured_s: float, epoch: int) -> int:
        """Give a frame's time; `captured_s` is the host's monotonic clock, None a frame that tells no time."""
        if self._last is None:
            given_s, ticks = source_s or Fraction(0), 0
            self._offset_s = -given_s
            self._lead_s = float(given_s) - captured_s
        else:
            last_s, last_captured_s, last_ticks = self._last
            passed_s = max(0.0, captured_s - last_captured_s)
            passed_ticks = last_ticks + max(1, round(passed_s / LIVE_TIME_BASE))
            given_s = last_s + Fraction(passed_s) if source_s is None else source_s
            lead_s = float(given_s) - captured_s
            late_s = max(0.0, self._lead_s - (float(last_s) - last_captured_s))
            if epoch != self._epoch or not 0 < given_s - last_s <= passed_s + late_s + _JUMP_S:
                self._offset_s = passed_ticks * LIVE_TIME_BASE - given_s
                self._lead_s = lead_s
            self._lead_s = max(lead_s, self._lead_s - _FORGOTTEN * passed_s)
            ticks = max(last_ticks + 1, round((given_s + self._offset_s) / LIVE_TIME_BASE))
        self._epoch = epoch
        self._last = (given_s, captured_s, ticks)
        return ticks
