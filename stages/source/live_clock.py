"""A live source's clock, rebased: it never runs backwards, and jumps and breaks become what really passed."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["LIVE_TIME_BASE", "EpochClock", "LiveClock"]

#: Seconds per unit of a live frame's time: RTP's and MPEG-TS's own, so that theirs stay exact.
LIVE_TIME_BASE = Fraction(1, 90_000)
#: A source's clock that gains more on this host's from one frame to the next has jumped, in seconds; what the frames
#: before were late by is no gain.
_JUMP_S = 1.0
#: How much of the lateness is forgotten in a second: clocks that drift apart are no lateness.
_FORGOTTEN = 0.001


class LiveClock:
    """Gives each frame of a connection its time in units of `LIVE_TIME_BASE`, 0 for the very first one.

    Frames keep the distances that the source gave them. Where the source's clock jumps, it goes on after the time that
    passed on this host. Frames that a stall held up and that come in a burst are no jump: they bring the source's clock
    no further ahead than it was before.
    """

    def __init__(self) -> None:
        #: What is added to the source's seconds.
        self._offset_s = Fraction(0)
        self._last: tuple[Fraction, float, int] | None = None
        #: How far the source's clock was ahead of this host's at most, of late, in seconds.
        self._lead_s = 0.0

    def ticks(self, source_s: Fraction | None, captured_s: float) -> int:
        """Give a frame's time; `captured_s` is the host's monotonic clock, None a frame that tells no time."""
        if self._last is None:
            given_s, ticks = source_s or Fraction(0), 0
            self._offset_s = -given_s
            self._lead_s = float(given_s) - captured_s
        else:
            last_s, last_captured_s, last_ticks = self._last
            passed_s = max(0.0, captured_s - last_captured_s)
            given_s = last_s + Fraction(passed_s) if source_s is None else source_s
            lead_s = float(given_s) - captured_s
            late_s = max(0.0, self._lead_s - (float(last_s) - last_captured_s))
            if not 0 < given_s - last_s <= passed_s + late_s + _JUMP_S:
                self._offset_s = _after(last_ticks, passed_s) * LIVE_TIME_BASE - given_s
                self._lead_s = lead_s
            self._lead_s = max(lead_s, self._lead_s - _FORGOTTEN * passed_s)
            ticks = max(last_ticks + 1, round((given_s + self._offset_s) / LIVE_TIME_BASE))
        self._last = (given_s, captured_s, ticks)
        return ticks


class EpochClock:
    """Gives each frame of a source its time in units of `LIVE_TIME_BASE`, 0 for the very first one.

    Each connection's times, which never run backwards, are moved as a whole: to after those of the one before, by the
    time that passed on this host in between.
    """

    def __init__(self) -> None:
        self._epoch = -1
        #: What is added to the connection's seconds.
        self._offset_s = Fraction(0)
        self._last: tuple[int, float] | None = None

    def ticks(self, connection_s: Fraction, captured_s: float, epoch: int) -> int:
        """Give a frame's time; `captured_s` is the host's monotonic clock."""
        last_ticks, last_captured_s = self._last or (-1, captured_s)
        if epoch != self._epoch:
            begin = _after(last_ticks, max(0.0, captured_s - last_captured_s))
            self._offset_s = begin * LIVE_TIME_BASE - connection_s
            self._epoch = epoch
        ticks = max(last_ticks + 1, round((connection_s + self._offset_s) / LIVE_TIME_BASE))
        self._last = (ticks, captured_s)
        return ticks


def _after(ticks: int, passed_s: float) -> int:
    """Give the time that follows another one when so much has passed."""
    return ticks + max(1, round(passed_s / LIVE_TIME_BASE))
