"""What became of a source's frames: `taken = posed + dropped(by reason) + in flight`, at every moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from posestream.stages.items import Drop

__all__ = ["FrameCounts", "kind_of"]


def kind_of(drop: Drop | None) -> str:
    """Name an end: "stage/reason" of a drop, "" of a frame with poses."""
    return "" if drop is None else f"{drop.stage}/{drop.reason}"


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
            self.dropped[kind_of(drop)] += 1

    def forget(self, endings: Mapping[str, int], in_flight: int) -> None:
        """Uncount frames that will be taken again: those that ended, by `kind_of`, and so many in flight."""
        self.taken -= in_flight + sum(endings.values())
        self.posed -= endings.get(kind_of(None), 0)
        self.dropped.subtract({kind: count for kind, count in endings.items() if kind != kind_of(None)})
        # A reason that is back at none is not told.
        self.dropped = +self.dropped

    def add(self, other: FrameCounts) -> None:
        """Count another source's frames as well."""
        self.taken += other.taken
        self.posed += other.posed
        self.dropped.update(other.dropped)

    def copy(self) -> FrameCounts:
        """Give the counts as they are now."""
        return FrameCounts(self.taken, self.posed, self.dropped.copy())
