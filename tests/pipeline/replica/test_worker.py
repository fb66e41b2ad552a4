"""A worker, seen from the place of a head that it asks what to serve."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import zmq

from posestream.pipeline.errors import ExitCode, HeadError, exit_code_of
from posestream.pipeline.replica.worker import Worker
from posestream.pipeline.wire.envelope import encode
from posestream.pipeline.wire.messages import PROTOCOL, Heard, Join, OtherProtocol
from posestream.pipeline.wire.sockets import Sockets, ZmqSocket, receive_from

DEADLINE_S = 60.0


@pytest.fixture
def head(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[ZmqSocket]:
    """A place where workers ask."""
    with Sockets(context) as sockets:
        yield sockets.open(zmq.ROUTER, bind="tcp://127.0.0.1:*")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            encode(OtherProtocol(PROTOCOL + 1)),
            f"speaks protocol {PROTOCOL + 1}, this worker {PROTOCOL}: install the same",
        ),
        (encode(Heard("head")), "is no head: it said Heard"),
        ([b"\xff"], "is no head of this version"),
    ],
)
def test_an_answer_that_is_none_is_told_at_once(head: ZmqSocket, answer: list[bytes], told: str) -> None:
    """A worker that a head of another version turns away, or that asked no head, ends with 4 and tells why."""
    address = head.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            Worker(address, "simulated:1", DEADLINE_S).run()
        except HeadError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert head.poll(int(DEADLINE_S * 1000))
    name, envelope = receive_from(head)
    assert envelope.message == Join(name, "simulated:1", PROTOCOL)
    head.send_multipart([name.encode(), *answer])
    thread.join(DEADLINE_S)
    (error,) = errors
    assert told in str(error)
    assert exit_code_of(error) is ExitCode.ENGINE
