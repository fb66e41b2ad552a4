"""When something came off a source, on both clocks."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["Stamp", "now"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """One instant on both clocks."""

    mono_s: float
    wall_s: float
    #: For how long, in seconds, whoever reads was held until then, since its source was paused.
    held_s: float = 0.0

    @property
    def played_s(self) -> float:
        """Seconds on a clock that stands while its reader is held."""
        return self.mono_s - self.held_s


def now() -> Stamp:
    """Read both clocks."""
    return Stamp(time.monotonic(), time.time())
