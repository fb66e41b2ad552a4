"""What a publisher remembers of one source: its last messages, bounded by count, bytes and age."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from itertools import islice

__all__ = ["Entry", "LogLimits", "Position", "ReplayLog", "Span"]


@dataclass(frozen=True, slots=True)
class LogLimits:
    """What a source's log holds at most."""

    messages: int = 10_000
    bytes: int = 64 << 20
    age_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Position:
    """A place among the messages of a source: a run, and the number of a message in it."""

    run: str
    n: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as it was published."""

    run: str
    n: int
    #: When it was published, in seconds since 1970: the log may outlive the machine's monotonic clock.
    at_s: float
    #: msgpack.
    body: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a log."""

    entries: tuple[Entry, ...]
    #: True if nothing comes after them by now: the live messages go on from `ReplayLog.next`.
    is_last: bool
    #: True if the run that was asked for is held and nothing of it was lost before the first of them, so that whatever
    #: it has from there on is among them.
    is_known: bool


class ReplayLog:
    """The last messages of one source, of this run and of those before, in the order in which they were published.

    Within a run the numbers grow. What was published already (by a lane that died, whose successor does its last
    frames again) is known by its number and refused.
    """

    def __init__(self, limits: LogLimits) -> None:
        self._limits = limits
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        #: How many entries have been dropped: the ordinal of the first one that is held.
        self._dropped = 0
        #: The runs in order, and the ordinal of the first message of each.
        self._runs: list[str] = []
        self._run_begins: list[int] = []
        #: The ordinals of messages before which others were lost, nobody knows how many.
        self._losses: set[int] = set()
        #: Where the next message goes: the live ones from here on.
        self.next: Position | None = None
        #: The last message; None before there was one.
        self.last: Entry | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<ReplayLog {len(self)} messages, {self._bytes} bytes, next {self.next}>"

    @property
    def first(self) -> Position | None:
        """The oldest message that is held."""
        return Position(self._entries[0].run, self._entries[0].n) if self._entries else None

    def add(self, entry: Entry) -> bool:
        """Hold one more message and drop what is too much; False if it was published before."""
        if self.next is not None and entry.run == self.next.run and entry.n < self.next.n:
            return False
        if not self._runs or self._runs[-1] != entry.run:
            self._runs.append(entry.run)
            self._run_begins.append(self._dropped + len(self._entries))
        self._entries.append(entry)
        self._bytes += len(entry.body)
        self.next, self.last = Position(entry.run, entry.n + 1), entry
        limits = self._limits
        while len(self._entries) > limits.messages or (self._bytes > limits.bytes and len(self._entries) > 1):
            self._drop_first()
        self.expire(entry.at_s)
        return True

    def note_loss(self) -> None:
        """Note that messages are missing between the last one and the next, whatever their numbers are."""
        self._losses.add(self._dropped + len(self._entries))

    def expire(self, now_s: float) -> None:
        """Drop what is too old by now."""
        while self._entries and self._entries[0].at_s < now_s - self._limits.age_s:
            self._drop_first()

    def since(self, place: Position | None, most_messages: int, most_bytes: int) -> Span:
        """Give what is still there from a place on, so many at most but for one that is larger alone.

        From a run that is not known (any more), or None, it is everything.
        """
        begin = self._begin(place)
        is_cut = self._dropped + begin in self._losses
        found: list[Entry] = []
        size = 0
        for number, entry in enumerate(islice(self._entries, begin, begin + most_messages), self._dropped + begin):
            size += len(entry.body)
            # What is missing before a message can be told only at the beginning of a piece.
            if found and (size > most_bytes or number in self._losses):
                break
            found.append(entry)
        is_known = place is not None and place.run in self._runs and not is_cut
        return Span(tuple(found), begin + len(found) >= len(self._entries), is_known)

    def _begin(self, place: Position | None) -> int:
        """Give the index of the first entry at a place or after it."""
        if place is None or place.run not in self._runs:
            return 0
        # A run can stand there twice only if somebody mixed two heads' logs; the last one counts.
        number = len(self._runs) - 1 - self._runs[::-1].index(place.run)
        begin = max(0, self._run_begins[number] - self._dropped)
        is_last_run = number + 1 == len(self._runs)
        end = len(self._entries) if is_last_run else max(0, self._run_begins[number + 1] - self._dropped)
        return bisect_left(self._entries, place.n, begin, end, key=lambda entry: entry.n)

    def _drop_first(self) -> None:
        self._bytes -= len(self._entries.popleft().body)
        self._losses.discard(self._dropped)
        self._dropped += 1
        # A run of which nothing is held is forgotten, the last one but for the messages to come.
        while len(self._runs) > 1 and self._run_begins[1] <= self._dropped:
            del self._runs[0], self._run_begins[0]
