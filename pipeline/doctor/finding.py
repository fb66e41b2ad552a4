"""One thing that was looked at: how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "State"]


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    #: Not there, and not needed by everybody.
    ABSENT = "absent"
    #: There, and likely to make trouble.
    WARNING = "warning"
    #: Nothing works without it.
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing."""

    section: str
    name: str
    state: State
    text: str
    #: What to do to have it, or to mend it; empty where nothing need be done.
    advice: str = ""
    #: Numbers, for programs.
    data: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {**asdict(self), "state": str(self.state)}
