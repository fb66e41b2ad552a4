"""What others say never goes beyond our own bounds, and what never began can be ended."""

from __future__ import annotations

import dataclasses
import logging
import socket as plain_socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import zmq

from posestream.models.spec import NetworkSpec
from posestream.pipeline.dispatch.dispatcher import Dispatcher, DispatcherSettings
from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.replica.serving import serve_message
from posestream.pipeline.settings import Settings
from posestream.pipeline.supervision.part import Part
from posestream.pipeline.wire.identities import results_identity, tasks_identity
from posestream.pipeline.wire.messages import (
    PROTOCOL,
    Failed,
    Heard,
    Heartbeat,
    Join,
    LaneEnd,
    LaneHello,
    Message,
    OtherProtocol,
    Posed,
    Recall,
    ReplicaBye,
    ReplicaHello,
    Result,
    Serve,
    Task,
    Work,
)
from posestream.pipeline.wire.sockets import Addresses, Sockets, receive, send

from .conftest import DEADLINE_S

#: More workers than a head remembers.
_MANY = 1200
#: What the head calls itself.
HEAD = "head"


def test_a_replicas_credits_are_bounded() -> None:
    """A replica that asks for a million frames is given no more than a replica can hold."""
    dispatcher = Dispatcher(DispatcherSettings())
    dispatcher.replica_joined("greedy", 10**6, 0.0)
    assert dispatcher.credits == 256


def test_a_part_that_never_began_has_ended() -> None:
    """Joining a thread that was never started is no error: whatever kept it from starting is what is told."""
    assert Part("idle", lambda: None, lambda: None).join(0.0)


@contextmanager
def listening(
    context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec, listen: tuple[str, ...] = ()
) -> Iterator[DispatchLoop]:
    """Run a dispatcher's thread."""
    serve = dataclasses.replace(serve_message(spec, Settings()), head=HEAD)
    loop = DispatchLoop(context, Addresses.inproc("bounds", listen), serve)
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

        say("here", ReplicaHello("here", HEAD, "an engine", 1, 1))
        wait_until(lambda: loop.has_met("here"))
        for number in range(_MANY):
            name = f"worker-{number}"
            say(
                name, ReplicaHello(name, HEAD, f"engine {number}", 0, 1), ReplicaBye(name, HEAD, False, f"bye {number}")
            )
            if number % 50 == 0:
                # Sockets close in their own time, and a context has no more than a thousand.
                wait_until(lambda: loop.replicas == ("here",))
        names = [f"worker-{number}" for number in range(_MANY)]
        # Of 1200 farewells 1000 are remembered, and all who said them have gone.
        wait_until(lambda: sum(bool(loop.farewell(name)) for name in names) == 1000 and loop.replicas == ("here",))

        assert loop.description("here") == "an engine"
        assert sum(loop.has_met(name) for name in names) == 999


def test_lanes_that_have_gone_are_forgotten(context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec) -> None:
    """Of a live source whose lane has ended, or died in the midst, no name is left where frames are given out."""
    with listening(context, spec) as loop:
        for name in ("ended", "died"):
            with Sockets(context) as sockets:
                results, tasks = (
                    sockets.open(zmq.DEALER, connect=Addresses.inproc("bounds").lanes, identity=identity)
                    for identity in (results_identity(name), tasks_identity(name))
                )
                send(results, LaneHello(name, True, True, 0.5, 0))
                wait_until(lambda name=name: f"lanes=['{name}'] fresh=['{name}']" in repr(loop))
                if name == "ended":
                    send(tasks, LaneEnd(name))
                loop.settle(name)
                wait_until(lambda: "lanes=[] fresh=[]" in repr(loop))


@pytest.fixture
def port() -> str:
    """An address that nobody has."""
    with plain_socket.create_server(("127.0.0.1", 0)) as probe:
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def test_nobody_takes_the_name_of_an_own_replica(
    context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec, port: str
) -> None:
    """Who comes over TCP under an own replica's name is not believed, and that replica is still reached and heard."""
    hello, local = ReplicaHello("replica-1", HEAD, "an engine", 1, 1), Addresses.inproc("bounds").replicas
    with listening(context, spec, (port,)) as loop, Sockets(context) as sockets:
        own = sockets.open(zmq.DEALER, connect=local, identity="replica-1")
        send(own, hello)
        wait_until(lambda: loop.replicas == ("replica-1",))
        thief = sockets.open(zmq.DEALER, connect=port, identity="replica-1")
        send(thief, ReplicaBye("replica-1", HEAD, True, "bad"))
        wait_until(lambda: loop.malformed == 1)
        send(own, Heartbeat("replica-1", HEAD, False, 1, 1))
        assert own.poll(int(DEADLINE_S * 1000))
        assert isinstance(receive(own).message, Heard)
        assert (loop.replicas, loop.farewell("replica-1"), thief.poll(0)) == (("replica-1",), "", 0)


def test_what_a_replica_says_to_another_head_is_not_taken(
    context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec, port: str
) -> None:
    """Who was left by a head that was here before gets no work and ends no frame; it is told who is here now."""
    with listening(context, spec, (port,)) as loop, Sockets(context) as sockets:
        left = sockets.open(zmq.DEALER, connect=port, identity="left")
        posed = Posed("door", 0, 0, 18, False, 0.01, 0.001)
        for message in (
            Result("left", "old", posed),
            Failed("left", "old", "door", 1, ""),
            ReplicaBye("left", "old", True, ""),
        ):
            send(left, message)
        for message in (ReplicaHello("left", "old", "an engine", 4, 1), Heartbeat("left", "old", False, 4, 1)):
            send(left, message)
            assert left.poll(int(DEADLINE_S * 1000))
            assert receive(left).message == Heard(HEAD)
        assert loop.replicas == ()
        assert not loop.has_met("left")
        assert not loop.malformed


def test_failures_of_frames_that_nobody_gave_are_not_told(
    context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec, port: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger's failures are counted as malformed, and only the first few are logged."""
    with (
        caplog.at_level(logging.WARNING, "posestream.pipeline.dispatch"),
        listening(context, spec, (port,)) as loop,
        Sockets(context) as sockets,
    ):
        stranger = sockets.open(zmq.DEALER, connect=port, identity="evil")
        for seq in range(200):
            send(stranger, Failed("evil", HEAD, "door", seq, "nothing"))
        wait_until(lambda: loop.malformed == 200)
    assert 1 <= len(caplog.records) <= 3


@pytest.mark.parametrize(
    ("changes", "value"),
    [({"keypoints": 3}, 0.5), ({"infer_s": 1e300}, 0.5), ({"group_s": 60.0}, 0.5), ({}, np.inf), ({}, -5.0)],
)
def test_a_result_that_cannot_be_right_is_a_failure_of_its_replica(
    context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec, port: str, changes: dict[str, Any], value: float
) -> None:
    """Another layout's people, times longer than the frame was away, and places in no picture: none reaches a lane."""
    task = Task("door", 0, 0.0, 16, 24, 1.0, 1.0, 24, 16)
    posed = dataclasses.replace(Posed("door", 0, 1, 18, False, 0.01, 0.001), **changes)
    with listening(context, spec, (port,)) as loop, Sockets(context) as sockets:
        lanes = Addresses.inproc("bounds").lanes
        results = sockets.open(zmq.DEALER, connect=lanes, identity=results_identity("door"))
        tasks = sockets.open(zmq.DEALER, connect=lanes, identity=tasks_identity("door"))
        send(results, LaneHello("door", False, False, None, 0))
        wait_until(lambda: results.poll(0))
        send(tasks, task, [bytes(16 * 24 * 3)])
        worker = sockets.open(zmq.DEALER, connect=port, identity="worker")
        send(worker, ReplicaHello("worker", HEAD, "an engine", 1, 1))
        assert worker.poll(int(DEADLINE_S * 1000))
        assert receive(worker).message == Work((task,))
        people = [np.full((1, posed.keypoints, 3), value, np.float32), np.full(1, 0.5, np.float32)]
        send(worker, Result("worker", HEAD, posed), people)
        assert tasks.poll(int(DEADLINE_S * 1000))
        assert receive(tasks).message == Recall("door", 0)
        assert (loop.malformed, loop.counts("door").posed, loop.counts("door").in_flight) == (1, 0, 1)


def test_a_worker_of_another_version_is_told_so(
    context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec, port: str
) -> None:
    """Who asks by the head's protocol is told what to serve; any other one which protocol the head has."""
    with listening(context, spec, (port,)) as loop, Sockets(context) as sockets:
        worker = sockets.open(zmq.DEALER, connect=port, identity="worker")
        for protocol, answer in ((PROTOCOL, Serve), (PROTOCOL + 1, OtherProtocol), (0, OtherProtocol)):
            send(worker, Join("worker", "cpu", protocol))
            assert worker.poll(int(DEADLINE_S * 1000))
            assert type(receive(worker).message) is answer
        wait_until(lambda: loop.malformed == 2)
