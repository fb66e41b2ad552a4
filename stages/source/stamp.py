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


def now() -> Stamp:
    """Read both clocks."""
    return Stamp(time.monotonic(), time.time())
