"""What a running head is asked about its sources, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    # asked
    "AddSource",
    "ListSources",
    "PauseSource",
    "RemoveSource",
    "ResumeSource",
    # answered
    "Agreed",
    "Listing",
    "Refused",
    "SourceEntry",
]


@dataclass(frozen=True, slots=True)
class AddSource:
    """Take frames from one more source; `table` is its `[[source]]` table as JSON."""

    table: str


@dataclass(frozen=True, slots=True)
class RemoveSource:
    """Take no more frames from a source, finish those in flight and close its files."""

    source: str


@dataclass(frozen=True, slots=True)
class PauseSource:
    """Take no frames from a source for a while."""

    source: str


@dataclass(frozen=True, slots=True)
class ResumeSource:
    """Take frames again from a source that was paused."""

    source: str


@dataclass(frozen=True, slots=True)
class ListSources:
    """Tell of the sources that this run has or had, from this number on, as many as one answer holds.

    Raises:
        ValueError: there is no such number; a run would not answer.
    """

    first: int = 0

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError(f"first = {self.first} is below 0")


@dataclass(frozen=True, slots=True)
class Agreed:
    """It is done, or begun; `text` says what, for people."""

    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not done; `code` is the exit code that a run would end with for this reason."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source."""

    name: str
    #: Without what may be secret in it.
    url: str
    state: str
    #: Why it is in that state, where there is more to say.
    why: str
    taken: int
    posed: int
    dropped: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Sources in the order in which they came, and how many there are after these."""

    sources: tuple[SourceEntry, ...]
    left: int
