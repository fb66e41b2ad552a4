"""What became of a source's frames: `taken = posed + dropped(by reason) + in flight`, at every moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from posestream.stages.items import Drop

__all__ = ["FrameCounts"]


@dataclass(slots=True)
class FrameCounts:
    """Counts of one source; the dispatcher changes them, others get copies."""

    taken: int = 0
    posed: int = 0
    #: Frames that ended without poses, by "stage/reason".
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> int:
        """Frames that ended, with poses or without."""
        return self.posed + self.dropped.total()

    @property
    def in_flight(self) -> int:
        """Frames that were taken and have not ended."""
        return self.taken - self.ended

    def end(self, drop: Drop | None) -> None:
        """Count a frame that ended, with poses where `drop` is None."""
        if drop is None:
            self.posed += 1
        else:
            self.dropped[f"{drop.stage}/{drop.reason}"] += 1

    def forget(self, endings: Iterable[Drop | None], in_flight: int) -> None:
        """Uncount frames that will be taken again: those that ended so, and so many in flight."""
        for drop in endings:
            self.taken -= 1
            if drop is None:
                self.posed -= 1
            else:
                self.dropped[f"{drop.stage}/{drop.reason}"] -= 1
        self.taken -= in_flight
        # A reason that is back at none is not told.
        self.dropped = +self.dropped

    def copy(self) -> FrameCounts:
        """Give the counts as they are now."""
        return FrameCounts(self.taken, self.posed, self.dropped.copy())
