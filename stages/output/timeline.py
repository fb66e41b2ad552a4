"""A recording's own clock: where each frame stands in it, whatever the source's clock does."""

from __future__ import annotations

from fractions import Fraction

from posestream.stages.items import Frame

__all__ = ["Timeline"]

#: A live source whose clock runs ahead of this host's by more, from one frame to the next, has jumped.
_JUMP_S = 10
#: Finer time bases than a microsecond are coarsened to it: MP4's and H.264's clocks have 32 bits.
_FINEST = Fraction(1, 1_000_000)
#: What stands for a frame's duration where nobody knows it.
_GUESSED_DURATION = Fraction(1, 25)


class Timeline:
    """Gives each frame its time in a recording, in units of `time_base`, from 0 and always growing.

    Frames keep the distances that the source gave them. Where the source's clock starts anew (a reconnect) or jumps,
    the recording goes on after the time that passed on this host. Still pictures follow each other evenly.

    Args:
        time_base: seconds per unit of the source's clock.
        rate: the source's average frame rate, where known.
        picture_s: how long each still picture is shown.
        is_live: the source's clock is compared with this host's.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None, picture_s: float, is_live: bool) -> None:
        self.time_base = max(time_base, _FINEST)
        self._picture_s = Fraction(picture_s).limit_denominator(1000)
        self._duration_s = 1 / rate if rate else _GUESSED_DURATION
        self._is_live = is_live
        self._last: Frame | None = None
        self._last_ticks = 0
        #: Source time of the recording's beginning, and the origin since the clock started anew, in seconds.
        self._origin_s = Fraction(0)
        self.is_continuous = True

    @property
    def end_s(self) -> Fraction:
        """Where the recording ends, in seconds: the last frame is shown as long as frames are on average."""
        shown_s = self._picture_s if self._last is not None and self._last.pts is None else self._duration_s
        return self._last_ticks * self.time_base + shown_s

    def ticks(self, frame: Frame) -> int:
        """Give the next frame's time in units of `time_base`."""
        if self._last is None:
            self._origin_s = _source_s(frame)
            ticks = 0
        else:
            if self._has_jumped(self._last, frame):
                self.is_continuous = False
                self._origin_s = _source_s(frame) - self._last_ticks * self.time_base - self._passed_s(frame)
            ticks = max(self._last_ticks + 1, self._even_ticks(frame))
        self._last, self._last_ticks = frame, ticks
        return ticks

    def _even_ticks(self, frame: Frame) -> int:
        """Give a frame's time without regard to the one before, but for pictures, which follow it."""
        if frame.pts is None:
            return self._last_ticks + round(self._picture_s / self.time_base)
        return round((_source_s(frame) - self._origin_s) / self.time_base)

    def _has_jumped(self, last: Frame, frame: Frame) -> bool:
        """True if the source's clock does not go on from the last frame to this one."""
        if last.pts is None or frame.pts is None:
            return False
        step_s = _source_s(frame) - _source_s(last)
        if frame.epoch != last.epoch or step_s <= 0:
            return True
        return self._is_live and step_s > frame.captured_mono_s - last.captured_mono_s + _JUMP_S

    def _passed_s(self, frame: Frame) -> Fraction:
        """Give how much time passed since the last frame, by this host's clock, a frame's duration at least."""
        if self._last is None or not self._is_live:
            return self._duration_s
        return max(self._duration_s, Fraction(frame.captured_mono_s - self._last.captured_mono_s))


def _source_s(frame: Frame) -> Fraction:
    """Give a frame's time on its source's clock in seconds, exactly; 0 for a picture."""
    return Fraction(0) if frame.pts is None else frame.pts * frame.time_base
