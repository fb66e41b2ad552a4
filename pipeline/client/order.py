"""Puts one source's messages in order: live ones as they come, missed ones from replay, doubles left out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

from posestream.pipeline.publish.log import Position

__all__ = ["Event", "Gap", "SourceOrder"]

#: Live messages that wait at most while missed ones are asked for; what falls out is asked for too.
_MOST_WAITING = 10_000
#: Of so many runs that are over it is known how far they were given.
_MOST_LEFT = 64


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


@dataclass(frozen=True, slots=True)
class _Answered:
    """A message that was asked for."""

    message: Mapping[str, Any]
    #: Which answer brought it.
    answer: int
    #: True if nothing is missing before it but what its number tells, as between messages of one answer.
    is_known: bool


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
        #: Of runs that were left behind, the message that would have come next: a slow listener may read messages of a
        #: run after a later one has answered.
        self._left: dict[str, int] = {}
        self._can_ask = can_ask
        self._is_asking = can_ask
        #: Live messages that wait, each with the number of answers that had come by then.
        self._waiting: deque[tuple[int, Mapping[str, Any]]] = deque()
        self._answers = 0
        #: True if there was nothing when it asked: whatever comes first may not be the first.
        self._was_empty = False
        #: Of those, the first so many came before the request was sent: who answers it began when they were out.
        self._covered = 0
        #: Answers that wait until it is known whether live messages of another run come before them.
        self._pieces: deque[_Answered] = deque()
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
        return _after(self._pieces[-1].message) if self._pieces else self._next

    @property
    def has_waiting(self) -> bool:
        """True if live messages wait for those before them."""
        return bool(self._waiting)

    def live(self, message: Mapping[str, Any]) -> list[Event]:
        """Take a message that was just published."""
        if message["n"] < self._given(message["run"]):
            return []
        if self._is_asking:
            if len(self._waiting) == _MOST_WAITING:
                self._waiting.popleft()
                self._covered = max(0, self._covered - 1)
            self._waiting.append((self._answers, message))
            return []
        if self._can_ask and self._is_late(_place(message)):
            self._is_asking = True
            self._waiting.append((self._answers, message))
            return []
        return self._take(message)

    def told(self, place: Position, *, is_end: bool = False) -> list[Event]:
        """Take the publisher's word that it has published everything before a place, or that the run ends there."""
        if is_end:
            self._end = place
        if self._is_asking or not self._is_new(place):
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
        self._answers += 1
        self._pieces += [_Answered(one, self._answers, is_known or place > 0) for place, one in enumerate(messages)]
        runs = {piece.message["run"] for piece in self._pieces}
        if is_last and upcoming is not None:
            runs.add(upcoming.run)
        if self._must_hold(runs, is_last=is_last):
            return self._take_pieces(runs, is_held=True)
        is_known = is_known or bool(self._pieces)
        events = self._take_pieces(runs)
        if is_last:
            self._was_empty = upcoming is None
            if upcoming is not None and self._is_new(upcoming):
                given = self._take_before(upcoming, runs, self._answers)
                events += given
                events += self._skip_to(upcoming, is_known=is_known and not given)
            events += self._go_on(runs)
        return events

    def give_up(self) -> list[Event]:
        """Go on with what is there: nobody answers."""
        events = self._take_pieces({piece.message["run"] for piece in self._pieces})
        self._is_asking, self._covered = False, 0
        while self._waiting:
            events += self._take(self._waiting.popleft()[1])
        return events

    def _must_hold(self, runs: Set[str], *, is_last: bool) -> bool:
        """True if live messages wait of a run that is neither the present one nor among those answered so far.

        The rest of the answer tells whether that run is still to come, or is over and unknown to who answers; of
        messages that came after the request only the next answer can tell.
        """
        untold = islice(self._waiting, self._covered if is_last else 0, None)
        known = {*runs, *self._left} if self._next is None else {*runs, *self._left, self._next.run}
        return bool(runs) and any(message["run"] not in known for _, message in untold)

    def _take_pieces(self, runs: Set[str], *, is_held: bool = False) -> list[Event]:
        """Give what was answered, if it is held then of the present run alone, and the live messages before it."""
        events: list[Event] = []
        while self._pieces:
            piece = self._pieces[0]
            if is_held and (self._next is None or piece.message["run"] != self._next.run):
                break
            given = self._take_before(_place(piece.message), runs, piece.answer, is_known=piece.is_known)
            events += given
            known, run = piece.is_known and not given, piece.message["run"]
            if piece.message["n"] < self._left.get(run, 0):
                # A head of before is there again: what it gave by then is passed over.
                events += self._skip_to(Position(run, self._left[run]), is_known=known)
            events += self._take(piece.message, is_known=known)
            self._pieces.popleft()
        return events

    def _take_before(self, place: Position, runs: Set[str], answer: int, *, is_known: bool = False) -> list[Event]:
        """Give the live messages that come before a place of an answer: who answers may not have them (any more).

        Of a run that no answer knows, what came after that answer comes after what it told, and nothing comes between
        messages that are known to follow each other. It is a guess where a log has lost a run between two pieces of its
        answer: nobody can tell then whether that run was before them or after.
        """
        events: list[Event] = []
        while self._waiting:
            answers, message = self._waiting[0]
            own = _place(message)
            if own.run == place.run:
                is_before = own.n < place.n
            elif self._next is not None and self._next.run in (own.run, place.run):
                is_before = self._next.run == own.run
            else:
                is_before = own.run not in runs and self._covered > 0 and answers < answer and not is_known
            if not is_before:
                break
            self._covered = max(0, self._covered - 1)
            self._waiting.popleft()
            events += self._take(message, is_known=is_known and own.run == place.run)
        return events

    def _go_on(self, runs: Set[str]) -> list[Event]:
        """Take the live messages that waited, as far as nothing is missing before them.

        Who answers could tell of those that came before the request if it knows their runs.
        """
        self._is_asking = False
        events: list[Event] = []
        for _ in range(self._covered):
            _, message = self._waiting.popleft()
            if message["run"] not in runs or self._next is None or message["run"] == self._next.run:
                events += self._take(message)
        self._covered = 0
        while self._waiting:
            message = self._waiting[0][1]
            if self._is_late(_place(message)):
                self._is_asking = True
                break
            self._waiting.popleft()
            events += self._take(message)
        return events

    def _is_late(self, place: Position) -> bool:
        """True if something is missing before a place."""
        if self._next is None:
            return self._was_empty
        return place.run != self._next.run or place.n > self._next.n

    def _is_new(self, place: Position) -> bool:
        """True if messages before a place where a publisher has come to are missing."""
        return self._is_late(place) and place.n > self._left.get(place.run, -1)

    def _given(self, run: str) -> int:
        """Give the first number of a run that was neither given nor told as missing."""
        return self._next.n if self._next is not None and run == self._next.run else self._left.get(run, 0)

    def _take(self, message: Mapping[str, Any], *, is_known: bool = False) -> list[Event]:
        """Give a message, after the gap before it; nothing for one that was given before."""
        place = _place(message)
        if place.n < self._given(place.run):
            return []
        events: list[Event] = self._skip_to(place, is_known=is_known)
        self._next = _after(message)
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
        first = self._left.pop(place.run, 0)
        if place.n > first:
            events.append(Gap(self._source, place.run, first, place.n - 1))
        self._leave(before)
        return events

    def _leave(self, place: Position) -> None:
        """Note how far a run was given that another one follows."""
        if len(self._left) == _MOST_LEFT:
            del self._left[next(iter(self._left))]
        self._left[place.run] = place.n


def _after(message: Mapping[str, Any]) -> Position:
    return Position(message["run"], message["n"] + 1)


def _place(message: Mapping[str, Any]) -> Position:
    return Position(message["run"], message["n"])
