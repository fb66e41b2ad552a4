"""How a live source is: whether it gives frames, since when, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from posestream.stages.redact import redacted_text

__all__ = ["ABSENCES", "LinkPhase", "LinkState", "LinkStates"]

#: The logger of sources that are not there at first, once each: told even when quiet, for an address may be mistyped.
ABSENCES = "posestream.absences"


class LinkPhase(StrEnum):
    """What a live source does."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    BACKING_OFF = "backing off"
    PAUSED = "paused"
    ENDED = "ended"
    FAILED = "failed"

    @property
    def is_absence(self) -> bool:
        """True where no frames come although they are wanted: one attempt after the other is still the same absence."""
        return self in (LinkPhase.CONNECTING, LinkPhase.STALLED, LinkPhase.BACKING_OFF)

    @property
    def is_final(self) -> bool:
        """True where nothing follows any more."""
        return self in (LinkPhase.ENDED, LinkPhase.FAILED)


@dataclass(frozen=True, slots=True)
class LinkState:
    """A phase, since when (seconds since 1970), and why; no secret is in the text."""

    phase: LinkPhase
    since_s: float
    why: str = ""


class LinkStates:
    """Follows a source from phase to phase; one that goes on keeps its beginning, and so does an absence."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.now = LinkState(LinkPhase.CONNECTING, clock())

    def __repr__(self) -> str:
        return f"<LinkStates {self.now.phase} {self.now.why!r}>"

    def go(self, phase: LinkPhase, why: str = "") -> bool:
        """Enter a phase; False where nothing changed, or the source has ended already."""
        why = redacted_text(why)
        if self.now.phase.is_final or (phase, why) == (self.now.phase, self.now.why):
            return False
        is_absence = phase.is_absence and self.now.phase.is_absence
        since_s = self.now.since_s if phase is self.now.phase or is_absence else self._clock()
        self.now = LinkState(phase, since_s, why)
        return True
