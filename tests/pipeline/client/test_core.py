"""What a subscriber sends, however many sources it names."""

from __future__ import annotations

import msgpack
import pytest

from posestream.pipeline.client.core import SubscriberCore
from posestream.pipeline.client.order import Event, Gap
from posestream.pipeline.client.unheard import Unheard

#: What the publisher takes of a subscriber, and what a subscription costs beside its topic with CURVE, in bytes.
_PORCH_BYTES, _COST = 8 << 10, 64


def core_of(count: int, length: int = 10) -> tuple[SubscriberCore, list[str]]:
    """Make a subscriber of so many sources with names of so many letters."""
    names = [f"{number:0{length}d}" for number in range(count)]
    return SubscriberCore(names, can_ask=True, after={}, clock=lambda: 0.0), names


@pytest.mark.parametrize(("count", "length"), [(1, 5), (30, 10), (60, 10), (100, 10), (1000, 5), (20, 200), (50, 200)])
def test_subscriptions_are_no_more_than_a_publisher_takes(count: int, length: int) -> None:
    """Every source's messages and status are among what is subscribed to, for less than it is cut off for."""
    core, names = core_of(count, length)
    topics = core.topics
    assert sum(len(topic) + _COST for topic in topics) < _PORCH_BYTES - 1024
    for name in names:
        for kind in ("poses", "status"):
            assert any(f"{kind}/{name}/".encode().startswith(topic) for topic in topics)
    assert topics[-1] == b"layout/"


def test_few_sources_are_all_that_is_subscribed_to() -> None:
    """Nothing of other sources comes over the wire for who wants a few."""
    core, names = core_of(2)
    assert core.topics == [f"{kind}/{name}/".encode() for kind in ("poses", "status") for name in names] + [b"layout/"]


def test_hundreds_of_sources_are_asked_about_some_at_a_time() -> None:
    """Further requests go out as answers come, until each source was asked about once."""
    core, names = core_of(300)
    core.received([b"layout/x/", msgpack.packb({"v": 1, "type": "layout"})])
    asked: list[str] = []
    while requests := [msgpack.unpackb(request) for request in core.requests()]:
        assert len(requests) <= 64
        for request in requests:
            asked.append(request["source"])
            head = {"v": 1, "type": "replay", "id": request["id"], "is_last": True, "is_known": False, "next": None}
            core.answered([msgpack.packb(head)])
    assert sorted(asked) == names


class _Seconds:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def ask_for_long(seconds: int, *, is_heard: bool) -> tuple[SubscriberCore, list[Event]]:
    """Let a subscriber that has missed something ask in vain, a publisher being heard meanwhile or not."""
    clock = _Seconds()
    core = SubscriberCore(["door"], can_ask=True, after={"door": ("a", 3)}, clock=clock)
    core.received([b"layout/x/", msgpack.packb({"v": 1, "type": "layout"})])
    live = {"v": 1, "type": "poses", "source": "door", "run": "a", "n": 7}
    events = core.received([b"poses/door/", msgpack.packb(live)])
    for _ in range(seconds):
        core.requests()
        clock.now += 1.0
        if is_heard:
            status = {"v": 1, "type": "status", "source": "door", "run": "a", "n": 8}
            events += core.received([b"status/door/", msgpack.packb(status)])
        events += core.tick()
    return core, events


def test_who_answers_nothing_is_not_waited_for_while_it_is_heard() -> None:
    """Live messages wait some seconds for a publisher that could answer, and longer for one that starts again."""
    missed, live = Gap("door", "a", 4, 6), {"v": 1, "type": "poses", "source": "door", "run": "a", "n": 7}
    assert ask_for_long(8, is_heard=True)[1] == [missed, live]
    core, events = ask_for_long(40, is_heard=False)
    assert events == []
    assert core.end() == [missed, live]
    assert ask_for_long(70, is_heard=False)[1] == [missed, live]


@pytest.mark.parametrize("upcoming", [{}, {"run": "a"}, {"run": 1, "n": 2}, {"run": "a", "n": True}, "a", 3])
def test_an_answer_that_goes_on_nowhere_is_none_of_ours(upcoming: object) -> None:
    """What comes next must be a place; an answer that tells something else is passed over and asked for again."""
    core, (name,) = core_of(1)
    core.received([b"layout/x/", msgpack.packb({"v": 1, "type": "layout"})])
    (request,) = (msgpack.unpackb(request) for request in core.requests())
    head = {"v": 1, "type": "replay", "id": request["id"], "is_last": True, "is_known": False, "next": upcoming}
    assert core.answered([msgpack.packb({**head, "source": name})]) == []
    assert core.malformed == 1


def test_hundreds_of_sources_that_are_none_are_a_short_line(caplog: pytest.LogCaptureFixture) -> None:
    """The first names are told, and how many there are besides."""
    Unheard([f"camera-{number:03d}" for number in range(400)]).tell([f"door-{number:03d}" for number in range(20)])
    (line,) = caplog.messages
    assert "camera-019 and 380 more was heard" in line
    assert line.endswith("door-018, door-019")
