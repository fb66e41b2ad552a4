"""The publisher over real sockets."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from posestream.pipeline.errors import DecodeError
from posestream.pipeline.publish.answers import Answers
from posestream.pipeline.publish.history import History
from posestream.pipeline.publish.log import Entry, LogLimits
from posestream.pipeline.publish.outlets import Outlets
from posestream.pipeline.publish.request import ListRequest, ReplayRequest, read_request
from posestream.pipeline.publish.topics import replay_address
from posestream.pipeline.security.gate import NoGate
from posestream.pipeline.wire.sockets import Sockets

from .stand import DEADLINE_S, Stand

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """A publisher."""
    made = Stand(f"ipc://{tmp_path}/poses")
    yield made
    made.close()


@pytest.fixture
def connect(context: Context) -> Iterator[Callable[..., Socket]]:
    """Makes sockets that are closed in the end."""
    sockets: list[Socket] = []

    def make(kind: int, address: str, *topics: bytes) -> Socket:
        socket = context.socket(kind)
        sockets.append(socket)
        socket.linger = 0
        socket.rcvtimeo = int(DEADLINE_S * 1000)
        for topic in topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        socket.connect(address)
        return socket

    yield make
    for socket in sockets:
        socket.close()


def test_askers_of_one_name_do_not_end_the_program() -> None:
    """Whoever asks under a name that somebody else has, and leaves, ends neither the publisher nor its process.

    In a process of its own: libzmq ends one whose connection with heartbeats is handed over.
    """
    program = (sys.executable, "-m", "tests.pipeline.publish.askers")
    root = Path(__file__).parents[3]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")


class Flooded:
    """A socket on which more has come than anybody reads in one turn."""

    def __init__(self) -> None:
        self.left = 10_000

    def recv(self, flags: int) -> bytes:
        """Give a wish."""
        self.left -= 1
        return b"\x01x"


def test_who_floods_with_wishes_leaves_the_others_their_turn(context: Context) -> None:
    """Of what one subscriber sends, a bounded number is heard before lanes and requests have their turn."""
    flooded = Flooded()
    with Sockets(context) as sockets:
        outlets = Outlets(sockets, 10, (NoGate().watch, NoGate().watch))
        outlets.live = flooded  # type: ignore[assignment]  # no more than what is used of it
        assert not outlets.hear_wishes()
    assert 10_000 - flooded.left <= 100


def join(connect: Callable[..., Socket], stand: Stand, *topics: bytes) -> Socket:
    """Subscribe, and wait until the publisher knows: it tells the layout to whoever joins."""
    # The layout last: who is told it has been heard about the others.
    listener = connect(zmq.SUB, stand.address, *topics, b"layout/")
    assert listener.recv_multipart()[0] == b"layout/openpose-18/"
    return listener


def ask(socket: Socket, **request: Any) -> list[Any]:
    """Ask, and give the answer's parts."""
    socket.send(msgpack.packb({"v": 1, "type": "replay", "id": 7, **request}))
    return [msgpack.unpackb(part) for part in socket.recv_multipart()]


def test_a_prefix_never_matches_a_neighbour(stand: Stand, connect: Callable[..., Socket]) -> None:
    """A subscriber of one source gets its messages as `[topic, msgpack]`, and none of a source with a longer name."""
    listener = join(connect, stand, b"poses/door/")
    stand.publish(0, source="door-2")
    sent = stand.publish(0, source="door")
    topic, body = listener.recv_multipart()
    assert (topic, msgpack.unpackb(body)) == (b"poses/door/", sent)


def test_everybody_who_joins_is_told_the_layout(stand: Stand, connect: Callable[..., Socket]) -> None:
    """The second subscriber of the same topic is told too, and where to ask for what it missed."""
    join(connect, stand)
    late = connect(zmq.SUB, stand.address, b"layout/")
    topic, body = late.recv_multipart()
    told = msgpack.unpackb(body)
    assert topic == b"layout/openpose-18/"
    assert (told["type"], told["keypoints"], told["limbs"]) == ("layout", ["nose", "neck"], [[0, 1]])
    assert told["replay"] == list(stand.publisher.replay_addresses)


def test_a_status_tells_how_far_its_source_has_come(stand: Stand, connect: Callable[..., Socket]) -> None:
    """A listener that lost the last message learns of it by the next status."""
    listener = join(connect, stand, b"status/")
    stand.publish(0)
    stand.publish(1)
    stand.tell()
    topic, body = listener.recv_multipart()
    told = msgpack.unpackb(body)
    assert (topic, told["run"], told["n"]) == (b"status/door/", "a", 2)


def test_a_request_gives_what_is_there_and_where_live_goes_on(stand: Stand, connect: Callable[..., Socket]) -> None:
    """From a place on: the messages as published, the last one, the layout, and the place of the next live one."""
    sent = [stand.publish(n) for n in range(4)]
    asking = connect(zmq.DEALER, stand.publisher.replay_addresses[0])
    head: dict[str, Any] = {}
    messages: list[Any] = []
    while head.get("next") != {"run": "a", "n": 4}:  # the feed is another socket
        head, *messages = ask(asking, source="door", run="a", n=2)
    assert messages == sent[2:]
    assert (head["id"], head["is_last"], head["is_known"]) == (7, True, True)
    assert msgpack.unpackb(head["last"]) == sent[-1]
    assert head["layout"]["name"] == "openpose-18"
    nobody, *none = ask(asking, source="nobody")
    assert (nobody["next"], nobody["last"], none) == (None, None, [])
    listed = ask(asking, type="list")[0]["sources"]
    assert listed == [{"source": "door", "first": {"run": "a", "n": 0}, "next": {"run": "a", "n": 4}}]


def test_a_subscriber_that_stops_reading_costs_the_others_nothing(
    tmp_path: Path, connect: Callable[..., Socket]
) -> None:
    """With one that never reads, another one gets everything, and what waits for the first is bounded."""
    stand = Stand(f"ipc://{tmp_path}/poses", queue=10, limits=LogLimits(messages=20))
    stopped = join(connect, stand, b"poses/")
    reader = join(connect, stand, b"poses/")
    count, filling = 3000, "x" * 5000
    received = []
    for n in range(count):
        stand.publish(n, filling=filling)
        received.append(msgpack.unpackb(reader.recv_multipart()[1])["n"])
    assert received == list(range(count))
    stand.close()
    waiting = 0
    while stopped.poll(200):
        waiting += stopped.recv_multipart()[0] == b"poses/door/"
    # Its own queue holds 1000; the publisher's 10, and the kernel's buffers some.
    assert waiting < count - 1000


def test_a_source_that_has_gone_is_forgotten_when_its_messages_are_old(tmp_path: Path) -> None:
    """What may still be asked for is kept; then nothing of the source is, in memory, and others are as they were."""
    stand = Stand(f"ipc://{tmp_path}/gone", limits=LogLimits(age_s=3.0), log_folder=tmp_path / "logs")
    for source in ("door", "gate"):
        stand.publish(0, source=source)
        stand.tell(source)
        stand.end_source(source)
    stand.wait_for(2)
    stand.forget("door")
    assert set(stand.history.logs) == {"door", "gate"}
    deadline_s = time.monotonic() + 60
    while "door" in stand.history.logs:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert set(stand.history.logs) == {"gate"}
    last = stand.history.last("gate")
    assert (last is not None, len(stand.history.logs["gate"])) == (True, 0)
    stand.close()


def test_doubles_of_a_lane_that_goes_on_are_published_once(stand: Stand, connect: Callable[..., Socket]) -> None:
    """A successor that does its predecessor's last frames again is heard from its first new one on."""
    listener = join(connect, stand, b"poses/")
    for n in (0, 1, 2, 1, 2, 3):
        stand.publish(n)
    assert [msgpack.unpackb(listener.recv_multipart()[1])["n"] for _ in range(4)] == [0, 1, 2, 3]


def test_ten_thousand_odd_requests_change_nothing(stand: Stand, connect: Callable[..., Socket]) -> None:
    """Whatever is sent to it, the socket of requests goes on answering, and messages go on."""
    rng = random.Random(1)  # noqa: S311 — to be repeated, not to be secret
    listener = join(connect, stand, b"poses/")
    good = msgpack.packb({"v": 1, "type": "replay", "id": 1, "source": "door", "run": "a", "n": 0})
    for number in range(10_000):
        if number % 250 == 0:
            shouting = connect(zmq.DEALER, stand.publisher.replay_addresses[0])
            shouting.linger = 5000
        changed = bytearray(good)
        for _ in range(rng.randint(1, 5)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        odd = rng.choice(
            (
                [bytes(changed)],
                [good[: rng.randrange(len(good))]],
                [rng.randbytes(rng.randint(0, 1500))],
                [good] * rng.randint(2, 20),
                [b"\x91" * rng.randint(1, 1000)],
                [
                    msgpack.packb(
                        {"v": 1, "type": rng.choice(["replay", "list", "x", 5]), "id": rng.choice([-1, 1 << 63])}
                    )
                ],
            )
        )
        shouting.send_multipart(odd)
    sent = stand.publish(0)
    assert msgpack.unpackb(listener.recv_multipart()[1]) == sent
    deadline_s = time.monotonic() + DEADLINE_S
    asking = connect(zmq.DEALER, stand.publisher.replay_addresses[0])
    while True:
        assert time.monotonic() < deadline_s
        asking.send(good)
        # The shouting came from this host too, whose budget it has spent.
        if asking.poll(200) and msgpack.unpackb(asking.recv_multipart()[0])["type"] == "replay":
            break


def test_a_stop_waits_for_what_a_lane_has_left(stand: Stand) -> None:
    """A lane's last messages may come late; until it has said that they were the last ones, the publisher goes on."""
    stand.publish(0)
    stand.wait_for(1)
    stand.publisher.stop()
    assert not stand.has_ended(0.3)
    stand.publish(1)
    stand.end_source()
    assert stand.has_ended(DEADLINE_S)
    last = stand.history.last("door")
    assert last is not None
    assert last.n == 1


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"\xc1"],
        [msgpack.packb(5)],
        [msgpack.packb({"v": 2, "type": "list", "id": 1})],
        [msgpack.packb({"v": 1, "type": "list", "id": True})],
        [msgpack.packb({"v": 1, "type": "replay", "id": 1})],
        [msgpack.packb({"v": 1, "type": "replay", "id": 1, "source": "a", "run": 5})],
        [msgpack.packb({"v": 1, "type": "replay", "id": 1, "source": "a", "run": "b", "n": -1})],
        [msgpack.packb({"v": 1, "type": "replay", "id": 1, "source": "a" * 2000})],
    ],
)
def test_what_is_no_request_is_one_error(parts: list[bytes]) -> None:
    """Every odd request is a `DecodeError` and nothing else."""
    with pytest.raises(DecodeError):
        read_request(parts)


def test_requests_are_read() -> None:
    """A proper request is what it says."""
    assert read_request([msgpack.packb({"v": 1, "type": "list", "id": 3})]) == ListRequest(3)
    asked = read_request([msgpack.packb({"v": 1, "type": "replay", "id": 3, "source": "a", "more": 1})])
    assert asked == ReplayRequest(3, "a", None)


class Clock:
    """A clock that stands until it is moved."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_client_that_asks_too_much_is_told_to_wait_and_others_are_not(tmp_path: Path) -> None:
    """Requests and bytes have a budget per client; who spent it waits, and is answered again later."""
    history, clock = History(LogLimits(), None), Clock()
    for n in range(400):
        history.add("door", Entry("a", n, time.time(), bytes(100_000)))
    answers = Answers(history, clock)
    request = [msgpack.packb({"v": 1, "type": "replay", "id": 1, "source": "door"})]
    kinds = [msgpack.unpackb(answers.answer(b"greedy", request)[0])["type"] for _ in range(250)]
    assert kinds[:100] == ["replay"] * 100
    assert kinds[-1] == "busy"
    assert msgpack.unpackb(answers.answer(b"other", request)[0])["type"] == "replay"
    assert answers.refused == kinds.count("busy")
    clock.now_s += 10.0
    assert msgpack.unpackb(answers.answer(b"greedy", request)[0])["type"] == "replay"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp://*:5556", "tcp://*:5557"),
        ("tcp://[::1]:5556", "tcp://[::1]:5557"),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"),
        ("ipc:///run/me/poses", "ipc:///run/me/poses.replay"),
    ],
)
def test_where_requests_go_by_default(address: str, expected: str) -> None:
    """The next port, or a file beside."""
    assert replay_address(address) == expected
