"""The order of one source's messages, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
from hypothesis import example, given, settings
from hypothesis import strategies as st

from posestream.pipeline.client.order import Event, Gap, SourceOrder
from posestream.pipeline.publish.disk_log import DiskLog
from posestream.pipeline.publish.log import Entry, LogLimits, Position, ReplayLog


def message(run: str, n: int) -> dict[str, Any]:
    """Make what is looked at of a message."""
    return {"run": run, "n": n}


class Publisher:
    """Publishes over a wire that loses, and answers in pieces."""

    def __init__(self, order: SourceOrder, log: ReplayLog) -> None:
        self.order = order
        self.log = log
        self.published: list[tuple[str, int]] = []
        self.received: set[tuple[str, int]] = set()
        self.events: list[Event] = []
        self.has_request = False
        #: What was sent and not read yet; None: everything is read at once.
        self.unread: list[tuple[str, int]] | None = None

    def publish(self, run: str, n: int, *, is_lost: bool) -> None:
        """Publish a message."""
        self.log.add(Entry(run, n, 0.0, msgpack.packb(message(run, n))))
        self.published.append((run, n))
        if not is_lost:
            self.received.add((run, n))
            if self.unread is not None:
                self.unread.append((run, n))
            else:
                self.events += self.order.live(message(run, n))

    def read(self) -> None:
        """Let a slow listener read what has been sent."""
        while self.unread:
            self.events += self.order.live(message(*self.unread.pop(0)))

    def ask(self) -> None:
        """Send the request, if there is one and none is on its way."""
        if self.order.is_asking and not self.has_request:
            self.order.asked()
            self.has_request = True

    def answer(self) -> None:
        """Answer the request with one piece, if one is on its way or to be sent."""
        self.ask()
        if self.has_request:
            self.has_request = False
            span = self.log.since(self.order.place, 3, 1 << 20)
            found = [message(entry.run, entry.n) for entry in span.entries]
            upcoming = self.log.next if span.is_last else None
            self.events += self.order.answered(found, upcoming, is_last=span.is_last, is_known=span.is_known)

    def tell(self) -> None:
        """Tell how far it has come."""
        if self.log.next is not None:
            self.events += self.order.told(self.log.next)

    def play(self, steps: Sequence[str], limits: LogLimits) -> tuple[str, int]:
        """Do the steps; a restarted head keeps its log, another one has its own. Give the last run and its next `n`."""
        run, n = 0, 0
        for step in steps:
            if step in ("restart", "head"):
                run, n = run + 1, 0
                if step == "head":
                    self.log = ReplayLog(limits)
            elif step == "ask":
                self.ask()
            elif step == "answer":
                self.answer()
            elif step == "read":
                self.read()
            elif step == "tell":
                self.tell()
            else:
                self.publish(f"run{run:02}", n, is_lost=step == "lost")
                n += 1
        return f"run{run:02}", n


def given_out(events: Sequence[Event]) -> list[tuple[str, int]]:
    """List what came out, the messages that gaps tell of included."""
    out: list[tuple[str, int]] = []
    for event in events:
        if not isinstance(event, Gap):
            out.append((event["run"], event["n"]))
        elif event.last is not None:
            out += [(event.run, n) for n in range(event.first, event.last + 1)]
    return out


def untold(publisher: Publisher) -> list[tuple[str, int]]:
    """List what is missing between messages although no gap tells of it."""
    places = {place: number for number, place in enumerate(publisher.published)}
    missing, before, is_open = [], None, False
    for event in publisher.events:
        if isinstance(event, Gap) and event.last is None:
            is_open = True
            continue
        for place in given_out([event]):
            if before is not None and not is_open:
                missing += publisher.published[before + 1 : places[place]]
            before, is_open = places[place], False
    return missing


def messages(events: Sequence[Event]) -> list[tuple[str, int]]:
    """List the messages that came out."""
    return [(event["run"], event["n"]) for event in events if not isinstance(event, Gap)]


_STEPS = st.lists(st.sampled_from(["ok", "ok", "lost", "ask", "answer", "tell", "restart"]), max_size=80)
_HEADS = st.lists(st.sampled_from(["ok", "ok", "ok", "lost", "ask", "answer", "tell", "head"]), max_size=60)


@example(["ask", "ok", "head", "lost", "answer", "head", "ok", "head"], None, 4)
@settings(max_examples=500)
@given(
    steps=_HEADS,
    place=st.sampled_from([None, Position("run00", 0), Position("run00", 2)]),
    held=st.sampled_from([4, 50]),
)
def test_what_was_received_is_given_whoever_answers(steps: list[str], place: Position | None, held: int) -> None:
    """Publishers that know nothing of those before them take no message that has come, and gaps tell of all others."""
    publisher = Publisher(SourceOrder("door", place, can_ask=True), ReplayLog(LogLimits(messages=held)))
    run, n = publisher.play(steps, LogLimits(messages=held))
    publisher.publish(run, n, is_lost=True)
    publisher.tell()
    for _ in range(2 * len(steps) + 4):
        publisher.answer()

    assert not publisher.order.is_asking
    told = given_out(publisher.events)
    assert told == sorted(set(told))
    begin = ("", 0) if place is None else (place.run, place.n)
    assert {one for one in publisher.received if one >= begin} <= set(messages(publisher.events))
    assert untold(publisher) == []


@settings(max_examples=300)
@given(steps=_STEPS, held=st.sampled_from([4, 1000]))
def test_everything_comes_out_once_and_in_order(steps: list[str], held: int) -> None:
    """Whatever is lost and whenever answers come: each message comes out once, in order, or a gap tells of it.

    With a log that holds everything there is no gap at all; of one that loses whole runs between two pieces of an
    answer only the order within each run is known.
    """
    publisher = Publisher(SourceOrder("door", None, can_ask=True), ReplayLog(LogLimits(messages=held)))
    publisher.play(steps, LogLimits(messages=held))
    publisher.tell()
    for _ in range(len(steps) + 1):
        publisher.answer()
    assert not publisher.order.is_asking

    if held == 1000:
        assert messages(publisher.events) == publisher.published
        assert not any(isinstance(event, Gap) for event in publisher.events)
    else:
        told = given_out(publisher.events)
        for run in {run for run, _ in told}:
            numbers = [n for one, n in told if one == run]
            assert numbers == sorted(set(numbers))
        assert untold(publisher) == []


@settings(max_examples=300)
@given(steps=st.lists(st.sampled_from(["ok", "ok", "lost", "ask", "answer", "read", "restart"]), max_size=80))
def test_what_a_slow_listener_reads_after_an_answer_comes_once(steps: list[str]) -> None:
    """Messages that are read only after a later run has answered with them are no doubles, and nothing is missing."""
    publisher = Publisher(SourceOrder("door", None, can_ask=True), ReplayLog(LogLimits()))
    publisher.unread = []
    publisher.play(steps, LogLimits())
    publisher.read()
    publisher.tell()
    for _ in range(2 * len(steps) + 2):
        publisher.answer()
    assert not publisher.order.is_asking
    assert publisher.events == [message(*place) for place in publisher.published]


def test_a_head_that_is_heard_again_goes_on_where_it_was() -> None:
    """Of two heads that take turns at an address, what each has given once does not come again."""
    order = SourceOrder("door", None, can_ask=True)
    order.answered([message("a", 0)], Position("a", 1), is_last=True, is_known=False)
    assert order.live(message("b", 0)) == []
    order.asked()
    events = order.answered([message("b", 0)], Position("b", 1), is_last=True, is_known=False)
    assert events == [Gap("door", "a", 1, None), message("b", 0)]
    assert order.live(message("a", 3)) == []
    order.asked()
    assert order.answered([message("a", 0)], None, is_last=False, is_known=False) == [Gap("door", "b", 1, None)]
    assert order.place == Position("a", 1)
    order.asked()
    held = [message("a", n) for n in range(1, 4)]
    assert order.answered(held, Position("a", 4), is_last=True, is_known=True) == held


@given(steps=st.lists(st.booleans(), min_size=1, max_size=60))
def test_without_replay_every_loss_is_a_gap(steps: list[bool]) -> None:
    """What is lost is told, with its numbers, before the message that follows."""
    publisher = Publisher(SourceOrder("door", None, can_ask=False), ReplayLog(LogLimits()))
    for n, is_lost in enumerate(steps):
        publisher.publish("a", n, is_lost=is_lost)
    publisher.tell()
    out = given_out(publisher.events)
    first = steps.index(False) if False in steps else len(steps)
    assert out == [("a", n) for n in range(first, len(steps))]


def test_a_listener_that_comes_back_goes_on_where_it_was() -> None:
    """With a place, nothing before it comes, and everything from it on."""
    log = ReplayLog(LogLimits())
    publisher = Publisher(SourceOrder("door", Position("a", 3), can_ask=True), log)
    for n in range(5):
        publisher.publish("a", n, is_lost=n < 4)
    publisher.answer()
    publisher.answer()
    assert publisher.events == [message("a", 3), message("a", 4)]


def test_a_run_that_nobody_knows_any_more_is_a_gap_without_an_end() -> None:
    """A publisher without a log on disk that was started again cannot tell how much the old run still had."""
    order = SourceOrder("door", Position("old", 7), can_ask=True)
    events = order.answered([message("new", 0)], Position("new", 1), is_last=True, is_known=False)
    assert events == [Gap("door", "old", 7, None), message("new", 0)]


def test_a_run_that_was_known_to_be_complete_leaves_no_gap() -> None:
    """Once the publisher told that nothing more had come by then, a new run is just the next one."""
    order = SourceOrder("door", Position("old", 6), can_ask=False)
    assert order.live(message("old", 6)) == [message("old", 6)]
    assert order.told(Position("old", 7), is_end=True) == []
    assert order.live(message("new", 0)) == [message("new", 0)]


def test_live_messages_go_on_when_nobody_answers() -> None:
    """Giving up tells the gap and gives what has waited."""
    order = SourceOrder("door", Position("a", 0), can_ask=True)
    assert order.live(message("a", 2)) == []
    assert order.give_up() == [Gap("door", "a", 0, 1), message("a", 2)]
    assert not order.is_asking


def test_what_was_lost_in_the_log_itself_is_told(tmp_path: Path) -> None:
    """Where a record on disk is damaged, whoever asks is told that messages are missing before the next run."""
    disk = DiskLog(tmp_path, LogLimits())
    for n in range(5):
        disk.write(Entry("a", n, 1.0, msgpack.packb(message("a", n))))
    disk.close()
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 5 + 5] ^= 1
    path.write_bytes(data)
    disk.write(Entry("b", 0, 2.0, msgpack.packb(message("b", 0))))
    disk.close()
    log = ReplayLog(LogLimits())
    for entry in DiskLog(tmp_path, LogLimits()).read(log.note_loss):
        log.add(entry)
    publisher = Publisher(SourceOrder("door", None, can_ask=True), log)
    while publisher.order.is_asking:
        publisher.answer()
    known = [message("a", n) for n in range(3)]
    assert publisher.events == [*known, Gap("door", "a", 3, None), message("b", 0)]


def test_nothing_comes_between_messages_of_one_answer() -> None:
    """A live message of a run that the rest of the answer no longer knows comes after the piece that was answered."""
    order = SourceOrder("door", None, can_ask=True)
    for place in (("a", 0), ("a", 1), ("c", 0)):
        assert order.live(message(*place)) == []
    order.asked()
    assert (
        order.answered([message("a", 0), message("a", 1), message("b", 0)], None, is_last=False, is_known=False) == []
    )
    order.asked()
    events = order.answered([message("d", 0)], Position("d", 1), is_last=True, is_known=False)
    assert messages(events) == [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("d", 0)]
