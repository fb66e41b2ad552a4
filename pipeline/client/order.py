"""Puts one source's messages in order: live ones as they come, missed ones from replay, doubles left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posestream.pipeline.publish.log import Position

__all__ = ["Event", "Gap", "SourceOrder"]

#: Live messages that wait at most while missed ones are asked for; what falls out is asked for too.
_MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a source that were missed and could not be had again."""

    source: str
    run: str
    #: The first and the last number missed; `last` is None where it is not known what was published from there on, up
    #: to the next message that comes, of whatever run.
    first: int
    last: int | None


#: What comes out: messages as plain objects, and gaps between them.
Event = Mapping[str, Any] | Gap


class SourceOrder:
    """Knows which message of a source comes next.

    It asks for what it missed: while `is_asking`, whoever holds the sockets asks for what there is from `place` on and
    calls `asked` and `answered`, or `give_up`.

    Args:
        source: the source's name.
        place: the message that comes next, as an earlier listener knows it; None: whatever comes first.
        can_ask: True if missed messages can be asked for.
    """

    def __init__(self, source: str, place: Position | None, *, can_ask: bool) -> None:
        self._source = source
        self._next = place
        self._can_ask = can_ask
        self._is_asking = can_ask
        self._waiting: deque[Mapping[str, Any]] = deque()
        #: True if there was nothing when it asked: whatever comes first may not be the first.
        self._was_empty = False
        #: Of those, the first so many came before the request was sent: whatever is answered to it covers them.
        self._covered = 0
        #: Where the publisher said that a run ended.
        self._end: Position | None = None

    def __repr__(self) -> str:
        return f"<SourceOrder {self._source} next {self._next}, {len(self._waiting)} waiting>"

    @property
    def is_asking(self) -> bool:
        """True while it waits for an answer to its request."""
        return self._is_asking

    @property
    def place(self) -> Position | None:
        """The message that it wants next: where a request begins."""
        return self._next

    @property
    def has_waiting(self) -> bool:
        """True if live messages wait for those before them."""
        return bool(self._waiting)

    def live(self, message: Mapping[str, Any]) -> list[Event]:
        """Take a message that was just published."""
        if self._is_asking:
            if len(self._waiting) == _MOST_WAITING:
                self._waiting.popleft()
                self._covered = max(0, self._covered - 1)
            self._waiting.append(message)
            return []
        if self._can_ask and self._is_late(_place(message)):
            self._is_asking = True
            self._waiting.append(message)
            return []
        return self._take(message)

    def told(self, place: Position, *, is_end: bool = False) -> list[Event]:
        """Take the publisher's word that it has published everything before a place, or that the run ends there."""
        if is_end:
            self._end = place
        if self._is_asking or not self._is_late(place):
            return []
        if self._can_ask:
            self._is_asking = True
            return []
        return self._skip_to(place, is_known=False)

    def asked(self) -> None:
        """Note that its request is being sent."""
        self._covered = len(self._waiting)

    def answered(
        self, messages: Sequence[Mapping[str, Any]], upcoming: Position | None, *, is_last: bool, is_known: bool
    ) -> list[Event]:
        """Take a piece of what was asked for.

        Args:
            messages: the piece.
            upcoming: with the last piece, the place of the message that is published next; None: there is none.
            is_last: True if the live messages follow.
            is_known: True if the publisher still knows the run that was asked for.
        """
        events: list[Event] = []
        for number, message in enumerate(messages):
            # Between messages of one answer nothing is missing but what their numbers tell.
            events += self._take(message, is_known=is_known or number > 0)
        if is_last:
            self._was_empty = upcoming is None
            if upcoming is not None and self._is_late(upcoming):
                events += self._skip_to(upcoming, is_known=is_known or bool(messages))
            events += self._go_on()
        return events

    def give_up(self) -> list[Event]:
        """Go on with what is there: nobody answers."""
        self._is_asking, self._covered = False, 0
        events: list[Event] = []
        while self._waiting:
            events += self._take(self._waiting.popleft())
        return events

    def _go_on(self) -> list[Event]:
        """Take the live messages that waited, as far as nothing is missing before them."""
        self._is_asking = False
        for _ in range(self._covered):
            self._waiting.popleft()
        self._covered = 0
        events: list[Event] = []
        while self._waiting:
            if self._is_late(_place(self._waiting[0])):
                self._is_asking = True
                break
            events += self._take(self._waiting.popleft())
        return events

    def _is_late(self, place: Position) -> bool:
        """True if something is missing before a place."""
        if self._next is None:
            return self._was_empty
        return place.run != self._next.run or place.n > self._next.n

    def _take(self, message: Mapping[str, Any], *, is_known: bool = False) -> list[Event]:
        """Give a message, after the gap before it; nothing for one that was given before."""
        place = _place(message)
        if self._next is not None and place.run == self._next.run and place.n < self._next.n:
            return []
        events: list[Event] = self._skip_to(place, is_known=is_known)
        self._next = Position(place.run, place.n + 1)
        return [*events, message]

    def _skip_to(self, place: Position, *, is_known: bool) -> list[Event]:
        """Tell what is missing before a place, and go on from there."""
        before, self._next = self._next, place
        if before is None or before == place:
            return []
        if before.run == place.run:
            return [Gap(self._source, place.run, before.n, place.n - 1)]
        events: list[Event] = []
        if not is_known and self._end != before:
            events.append(Gap(self._source, before.run, before.n, None))
        if place.n > 0:
            events.append(Gap(self._source, place.run, 0, place.n - 1))
        return events


def _place(message: Mapping[str, Any]) -> Position:
    return Position(message["run"], message["n"])
