"""What others say never goes beyond our own bounds, and what never began can be ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import zmq

from posestream.models.spec import NetworkSpec
from posestream.pipeline.dispatch.dispatcher import Dispatcher, DispatcherSettings
from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.replica.serving import serve_message
from posestream.pipeline.settings import Settings
from posestream.pipeline.supervision.part import Part
from posestream.pipeline.wire.messages import Message, ReplicaBye, ReplicaHello
from posestream.pipeline.wire.sockets import Addresses, Sockets, send

from .conftest import DEADLINE_S

#: More workers than a head remembers.
_MANY = 1200


def test_a_replicas_credits_are_bounded() -> None:
    """A replica that asks for a million frames is given no more than a replica can hold."""
    dispatcher = Dispatcher(DispatcherSettings())
    dispatcher.replica_joined("greedy", 10**6, 0.0)
    assert dispatcher.credits == 256


def test_a_part_that_never_began_has_ended() -> None:
    """Joining a thread that was never started is no error: whatever kept it from starting is what is told."""
    assert Part("idle", lambda: None, lambda: None).join(0.0)


@contextmanager
def listening(context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec) -> Iterator[DispatchLoop]:
    """Run a dispatcher's thread."""
    loop = DispatchLoop(context, Addresses.inproc("bounds"), serve_message(spec, Settings()))
    part = Part("dispatch", loop.run, lambda: None)
    part.start()
    try:
        assert loop.is_listening.wait(DEADLINE_S)
        yield loop
    finally:
        loop.stop()
        assert part.join(DEADLINE_S)
        assert part.error is None


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_workers_that_have_gone_are_forgotten(context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec) -> None:
    """A head that thousands of workers join and leave remembers the last ones' words, and those of who is there."""
    with listening(context, spec) as loop:

        def say(replica: str, *messages: Message) -> None:
            with Sockets(context) as sockets:
                socket = sockets.open(zmq.DEALER, connect=Addresses.inproc("bounds").replicas, identity=replica)
                for message in messages:
                    send(socket, message)

        say("here", ReplicaHello("here", "an engine", 1, 1))
        wait_until(lambda: loop.has_met("here"))
        for number in range(_MANY):
            name = f"worker-{number}"
            say(name, ReplicaHello(name, f"engine {number}", 0, 1), ReplicaBye(name, False, f"bye {number}"))
            if number % 50 == 0:
                # Sockets close in their own time, and a context has no more than a thousand.
                wait_until(lambda: loop.replicas == ("here",))
        names = [f"worker-{number}" for number in range(_MANY)]
        # Of 1200 farewells 1000 are remembered, and all who said them have gone.
        wait_until(lambda: sum(bool(loop.farewell(name)) for name in names) == 1000 and loop.replicas == ("here",))

        assert loop.description("here") == "an engine"
        assert sum(loop.has_met(name) for name in names) == 999
