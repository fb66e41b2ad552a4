"""The subscriber's decisions, without sockets: what comes in, what goes out to the user, and what is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from posestream.pipeline.client.order import Event, SourceOrder
from posestream.pipeline.client.unheard import Unheard
from posestream.pipeline.publish.log import Position
from posestream.pipeline.publish.topics import poses_topic, source_status_topic
from posestream.stages.message import VERSION

__all__ = ["SubscriberCore"]

_log = logging.getLogger(__name__)

#: An answer that does not come within this is asked for again, in seconds.
_ANSWER_S = 2.0
#: After so many requests without an answer, from a publisher that is heard meanwhile, live messages wait no longer.
_TRIES = 3
#: One that is not heard may be starting again: it is waited for so long, in seconds.
_GONE_S = 60.0
#: So many sources are asked about at a time: a publisher cuts off who sends it too much at once.
_MOST_ASKED = 64
#: A publisher that has not told its layout so long after the first message is none that can be asked, in seconds.
_LAYOUT_S = 3.0
#: What a subscription costs on the wire beside its topic at most (with CURVE), and what all may cost: a publisher cuts
#: off who sends it more than 8 KB (`publish.porch`), the handshake included. In bytes.
_WISH_BYTES, _MOST_BYTES = 64, 6 << 10
#: Of messages that are none, so many are logged.
_TOLD = 3


@dataclass(slots=True)
class _Asked:
    """A request that is on its way."""

    id: int
    sent_s: float
    due_s: float
    #: How often it was sent to a publisher that was heard since.
    tries: int


class SubscriberCore:
    """Decides for one subscriber of any sources.

    Args:
        sources: names; None: all there are.
        can_ask: True if missed messages shall be asked for.
        after: of each source, the run and number of the last message that is known already.
        clock: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        sources: Sequence[str] | None,
        *,
        can_ask: bool,
        after: Mapping[str, tuple[str, int]],
        clock: Callable[[], float],
    ) -> None:
        self._sources = None if sources is None else tuple(sources)
        self._can_ask = can_ask
        self._clock = clock
        self._after = {source: Position(run, n + 1) for source, (run, n) in after.items()}
        self._orders: dict[str, SourceOrder] = {}
        self._asked: dict[str, _Asked] = {}
        self._next_id = 0
        self._unheard = Unheard(self._sources)
        #: The request for the list of sources.
        self._list: _Asked | None = None
        self._is_list_due = can_ask and sources is None
        self._first_live_s: float | None = None
        #: When anything of a publisher was heard last.
        self._heard_s = float("-inf")
        #: The layout as the publisher told it last; None before it has.
        self.layout: Mapping[str, Any] | None = None
        #: Messages and answers that were none of ours.
        self.malformed = 0
        for source in {*(self._sources or ()), *self._after}:
            self._order(source)

    @property
    def topics(self) -> list[bytes]:
        """What to subscribe to."""
        everything = [b"poses/", b"status/", b"layout/"]  # the layout last: who is told it has been heard about all
        if self._sources is None:
            return everything
        poses = [poses_topic(source).encode() for source in self._sources]
        status = [source_status_topic(source).encode() for source in self._sources]
        for wishes in ([*poses, *status], [*poses, b"status/"]):
            if sum(len(wish) + _WISH_BYTES for wish in wishes) <= _MOST_BYTES:
                return [*wishes, b"layout/"]
        return everything  # those of others are passed over when they come

    def received(self, parts: Sequence[bytes]) -> list[Event]:
        """Take what a publisher sent."""
        message = self._read(parts[1]) if len(parts) == 2 else None
        topic = parts[0].partition(b"/")[0]
        if message is None or message.get("type") not in _TYPES.get(topic, ()):
            return self._ignore(f"topic {parts[0][:40]!r}")
        self._heard_s = self._clock()
        if topic == b"layout":
            self.layout = message
            self._unheard.begin(self._clock())
            return []
        source, run, n = message.get("source"), message.get("run"), message.get("n")
        if isinstance(source, str):
            self._unheard.note(source)
        if not (isinstance(source, str) and isinstance(run, str) and type(n) is int):
            # The status of the whole, or of a source of which nothing was published, has none.
            return [] if topic == b"status" else self._ignore("a message without source, run or n")
        if self._sources is not None and source not in self._sources:
            return []
        if topic == b"status":
            return self._order(source).told(Position(run, n), is_end=message.get("is_final") is True)
        if self._first_live_s is None:
            self._first_live_s = self._clock()
        return self._order(source).live(message)

    def answered(self, parts: Sequence[bytes]) -> list[Event]:
        """Take an answer."""
        head = self._read(parts[0]) if parts else None
        if head is None:
            return self._ignore("an answer")
        if head.get("type") == "list":
            return self._take_list(head)
        source = next((name for name, asked in self._asked.items() if asked.id == head.get("id")), None)
        if source is None:
            return []  # one that was given up
        if head.get("type") == "busy":
            # Somebody is there, so that it is no failed attempt.
            self._asked[source].due_s, self._asked[source].tries = self._clock() + _pause_s(head.get("retry_s")), 0
            return []
        messages = [self._read(part) for part in parts[1:]]
        upcoming = head.get("next")
        is_whole = upcoming is None or _has_place(upcoming)
        if head.get("type") != "replay" or not is_whole or not all(_is_of(source, message) for message in messages):
            return self._ignore("an answer")
        del self._asked[source]
        place = None if upcoming is None else Position(upcoming["run"], upcoming["n"])
        return self._orders[source].answered(
            [message for message in messages if message is not None],
            place,
            is_last=bool(head.get("is_last")),
            is_known=bool(head.get("is_known")),
        )

    def requests(self) -> list[bytes]:
        """Give what is to be asked now, once it is known where."""
        if self.layout is None:
            return []
        now_s, asked = self._clock(), []
        self._is_list_due |= self._unheard.is_due(now_s)
        if self._is_list_due and (self._list is None or now_s >= self._list.due_s):
            self._list = self._note(self._list)
            asked.append({"type": "list", "id": self._list.id})
        on_the_way = sum(now_s < known.due_s for known in self._asked.values())
        for source, order in self._orders.items():
            known = self._asked.get(source)
            if on_the_way < _MOST_ASKED and order.is_asking and (known is None or now_s >= known.due_s):
                on_the_way += 1
                self._asked[source] = self._note(known)
                order.asked()
                place = order.place
                where = {} if place is None else {"run": place.run, "n": place.n}
                asked.append({"type": "replay", "id": self._asked[source].id, "source": source, **where})
        return [msgpack.packb({"v": VERSION, **request}) for request in asked]

    def tick(self) -> list[Event]:
        """Give up what is not answered while live messages wait."""
        now_s = self._clock()
        is_deaf = self.layout is None and self._first_live_s is not None and now_s - self._first_live_s > _LAYOUT_S
        is_gone = now_s - self._heard_s > _GONE_S
        events: list[Event] = []
        for source, order in self._orders.items():
            asked = self._asked.get(source)
            is_tired = asked is not None and now_s >= asked.due_s and (asked.tries >= _TRIES or is_gone)
            if order.is_asking and order.has_waiting and (is_deaf or is_tired):
                events += self._give_up(source)
        if self._unheard.is_due(now_s) and self._list is not None and self._list.tries > _TRIES:
            self._unheard.tell(None)
        return events

    def end(self) -> list[Event]:
        """Give what waits for answers, which are waited for no longer."""
        waiting = [source for source, order in self._orders.items() if order.is_asking and order.has_waiting]
        return [event for source in waiting for event in self._give_up(source)]

    def _give_up(self, source: str) -> list[Event]:
        _log.warning("what was missed of %s cannot be asked for: nobody answers", source)
        self._asked.pop(source, None)
        return self._orders[source].give_up()

    def _take_list(self, head: Mapping[str, Any]) -> list[Event]:
        self._is_list_due, self._list = False, None
        found = head.get("sources")
        entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        names = [entry["source"] for entry in entries if isinstance(entry.get("source"), str)]
        if self._sources is None:
            for name in names:
                self._order(name)
        for name in names:
            self._unheard.note(name)
        if self._unheard.is_due(self._clock()):
            self._unheard.tell(names)
        return []

    def _order(self, source: str) -> SourceOrder:
        if source not in self._orders:
            self._orders[source] = SourceOrder(source, self._after.get(source), can_ask=self._can_ask)
        return self._orders[source]

    def _note(self, before: _Asked | None) -> _Asked:
        self._next_id += 1
        now_s = self._clock()
        tries = 1 if before is None else before.tries + (self._heard_s >= before.sent_s)
        return _Asked(self._next_id, now_s, now_s + _ANSWER_S, tries)

    def _read(self, body: bytes) -> dict[str, Any] | None:
        try:
            message = msgpack.unpackb(body)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
            return None
        return message if isinstance(message, dict) and message.get("v") == VERSION else None

    def _ignore(self, what: str) -> list[Event]:
        self.malformed += 1
        _log.log(logging.WARNING if self.malformed <= _TOLD else logging.DEBUG, "ignored what is no message: %s", what)
        return []


#: What may come under the first word of a topic.
_TYPES: dict[bytes, tuple[str, ...]] = {b"poses": ("poses", "drop"), b"status": ("status",), b"layout": ("layout",)}


def _pause_s(told: object) -> float:
    """Give how long to wait when a publisher has too much to do, whatever it says."""
    return min(10.0, max(0.05, told)) if isinstance(told, int | float) else 1.0


def _is_of(source: str, message: Mapping[str, Any] | None) -> bool:
    return message is not None and message.get("source") == source and _has_place(message)


def _has_place(told: object) -> bool:
    return isinstance(told, dict) and isinstance(told.get("run"), str) and type(told.get("n")) is int
