"""How long to wait before a lost source is tried again: exponentially longer, with jitter and a cap."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from posestream.stages.errors import SettingsError

__all__ = ["Backoff", "ReconnectSettings"]

#: Each wait is so many times the one before.
_FACTOR = 2.0
#: A wait is drawn between this part of it and the whole, so that cameras that were lost together do not come together.
_LEAST_PART = 0.5
#: Longer waits than a day are no waits, in seconds.
_LONGEST_S = 86_400.0


@dataclass(frozen=True, slots=True)
class ReconnectSettings:
    """When a source counts as lost, and how long to wait before it is tried again.

    Raises:
        SettingsError: the waits make no sense.
    """

    #: The first wait in seconds.
    min_s: float = 0.5
    #: The longest one.
    max_s: float = 10.0
    #: A connection that gave nothing for so long is given up; it is told as stalled from half of this on.
    stall_s: float = 5.0
    #: How long a connection may take to come about and to give its first picture.
    connect_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.max_s <= _LONGEST_S:
            raise SettingsError(
                f"reconnect: min_s = {self.min_s:g} and max_s = {self.max_s:g} are not 0 < min_s ≤ max_s ≤ a day"
            )
        for name in ("stall_s", "connect_s"):
            if not 0 < getattr(self, name) <= _LONGEST_S:
                raise SettingsError(
                    f"reconnect: {name} = {getattr(self, name):g} is not above 0 and up to a day (86400)"
                )


class Backoff:
    """Gives one wait after the other.

    Args:
        settings: the first and the longest wait.
        draw: gives a random number from 0 to 1.
    """

    def __init__(self, settings: ReconnectSettings, draw: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._draw = draw
        self._whole_s = settings.min_s

    def __repr__(self) -> str:
        return f"<Backoff next={self._whole_s:g} s>"

    def next_s(self) -> float:
        """Give the next wait in seconds."""
        wait_s = self._whole_s * (_LEAST_PART + (1 - _LEAST_PART) * self._draw())
        self._whole_s = min(self._whole_s * _FACTOR, self._settings.max_s)
        return wait_s

    def longest_s(self) -> float:
        """Give the longest wait, from which the next ones do not get shorter: trying soon would only do harm."""
        self._whole_s = self._settings.max_s
        return self.next_s()

    def reset(self) -> None:
        """Begin anew: the source was there."""
        self._whole_s = self._settings.min_s
