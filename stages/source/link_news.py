"""What the log tells of a source's connection: each change once, and that it is not there as soon as that is known."""

from __future__ import annotations

import logging

from posestream.stages.source.link import Link
from posestream.stages.source.link_state import ABSENCES, LinkPhase

__all__ = ["ABSENT_S", "LinkNews"]

_log = logging.getLogger(__name__)
_absences = logging.getLogger(ABSENCES)

#: A source that was not there yet and does not say why is told after so long, in seconds.
ABSENT_S = 3.0
#: What is worth a warning in the log; the others are news.
_BAD_PHASES = (LinkPhase.STALLED, LinkPhase.BACKING_OFF)


class LinkNews:
    """Lets a connection enter its phases, and logs what is new in them: a camera that stays away is told once.

    Args:
        name: the source's.
        link: the connection.
        is_lasting: False for a recording, of which all this is no news.
    """

    def __init__(self, name: str, link: Link, *, is_lasting: bool) -> None:
        self._name = name
        self._link = link
        self.is_lasting = is_lasting
        self._told: tuple[LinkPhase, str] = (LinkPhase.CONNECTING, "")
        self._is_absence_told = False

    def __repr__(self) -> str:
        return f"<LinkNews {self._name} told={self._told} absence_told={self._is_absence_told}>"

    def go(self, phase: LinkPhase, why: str = "") -> None:
        """Enter a phase."""
        if not self._link.go(phase, why) or self._link.now is None:
            return
        state = self._link.now
        if phase is LinkPhase.CONNECTING or (phase, state.why) == self._told:
            return
        self._told = (phase, state.why)
        text = f"{self._name} is {phase}{': ' if state.why else ''}{state.why}"
        if phase is not LinkPhase.BACKING_OFF or not self._tell_absence(text, phase, state.why):
            _log.log(self._level(phase), "%s", text, extra=self._fields(phase, state.why))

    def tell_silence(self, address: str) -> None:
        """Say that it is not there yet and does not say why."""
        phase = LinkPhase.CONNECTING if self._link.now is None else self._link.now.phase
        self._tell_absence(f"{self._name} is not there yet: {address} does not answer", phase, "it does not answer")

    def _tell_absence(self, text: str, phase: LinkPhase, why: str) -> bool:
        """Say that it is not there yet, if it never was and that was not said; False where it was not to be said."""
        if self._is_absence_told or self._link.connections or not self.is_lasting:
            return False
        self._is_absence_told = True
        _absences.warning("%s", text, extra=self._fields(phase, why))
        return True

    def _level(self, phase: LinkPhase) -> int:
        # Whoever stopped it knows, whoever is given an error tells it, and of a recording all this is no news.
        is_known = phase is LinkPhase.FAILED or (phase is LinkPhase.ENDED and self._link.is_stopped)
        if is_known or not self.is_lasting:
            return logging.DEBUG
        return logging.WARNING if phase in _BAD_PHASES else logging.INFO

    def _fields(self, phase: LinkPhase, why: str) -> dict[str, dict[str, str]]:
        return {"fields": {"source": self._name, "state": phase.value, "why": why}}
