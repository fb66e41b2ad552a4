"""A replica: pulls frames from the dispatcher, infers, groups, and gives people back."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import zmq
from numpy.typing import NDArray

from posestream.models.engines.base import Engine
from posestream.models.errors import EngineError, InferenceError
from posestream.models.spec import NetworkSpec
from posestream.pipeline.convert import fields_of, image_of, maps_of, people_payloads, posed_of
from posestream.pipeline.errors import DecodeError, HeadError, PipelineError
from posestream.pipeline.part import Part
from posestream.pipeline.serving import Serving
from posestream.pipeline.sockets import Sockets, ZmqContext, ZmqSocket, receive, send
from posestream.pipeline.wire import (
    Done,
    Envelope,
    Failed,
    Fields,
    Heard,
    Heartbeat,
    ReplicaBye,
    ReplicaHello,
    Result,
    Stop,
    Task,
    Work,
)
from posestream.stages.group import Group

__all__ = ["GroupLoop", "InferLoop", "Replica", "ReplicaState"]

_log = logging.getLogger(__name__)

#: Time between two heartbeats, in seconds.
_HEARTBEAT_S = 0.5
#: Longest wait for an event, in milliseconds.
_POLL_MS = 100
#: Frames that wait in a replica beyond those its engine works on, so that the engine never waits for a hop.
_PREFETCH = 2


@dataclass(slots=True)
class _Job:
    """A frame that the engine has, or will have next."""

    task: Task
    image: NDArray[np.uint8]


class ReplicaState:
    """What a replica tells of itself; written by its threads, read by others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.description = ""
        #: Set when the engine is open.
        self.is_ready = threading.Event()
        self.stopping = threading.Event()
        #: Set when the grouping's thread has ended.
        self.has_grouping_ended = threading.Event()
        #: The credits that it will give, known once it is ready.
        self.credits = 0


class InferLoop:
    """A replica's work loop: keeps its engine full, and forwards what was grouped to the dispatcher."""

    def __init__(
        self,
        context: ZmqContext,
        replicas_address: str,
        fields_address: str,
        people_address: str,
        open_engine: Callable[[], Engine],
        state: ReplicaState,
        patience_s: float = math.inf,
    ) -> None:
        self._context = context
        self._replicas_address = replicas_address
        self._fields_address = fields_address
        self._people_address = people_address
        self._open_engine = open_engine
        self._state = state
        self._queue: deque[_Job] = deque()
        self._running: dict[int, _Job] = {}
        self._tickets = 0
        self._grouping = 0
        self._beat_s = 0.0
        self._heard_s = time.monotonic()
        self._patience_s = patience_s
        self._shapes: set[tuple[int, int]] = set()

    def __repr__(self) -> str:
        return (
            f"<InferLoop {self._state.name} queued={len(self._queue)} running={len(self._running)} "
            f"grouping={self._grouping}>"
        )

    def run(self) -> None:
        """Work until stopped; then finish what is held, and say goodbye."""
        name = self._state.name
        with Sockets(self._context) as sockets:
            self._tasks = sockets.open(zmq.DEALER, connect=self._replicas_address, identity=name)
            self._fields = sockets.open(zmq.PUSH, connect=self._fields_address)
            self._people = sockets.open(zmq.PULL, bind=self._people_address)
            bye = ReplicaBye(name, False, "")
            try:
                send(self._tasks, ReplicaHello(name, "", 0))
                with closing(self._open_engine()) as engine:
                    self._announce(engine)
                    self._work(engine)
            except BaseException as error:
                bye = ReplicaBye(name, True, str(error))
                raise
            finally:
                if not self._state.has_grouping_ended.is_set():
                    send(self._fields, Done())
                send(self._tasks, bye)

    def _announce(self, engine: Engine) -> None:
        state = self._state
        state.credits = engine.capacity + _PREFETCH
        state.description = engine.description
        state.is_ready.set()
        send(self._tasks, ReplicaHello(state.name, engine.description, state.credits))

    def _work(self, engine: Engine) -> None:
        """Go round: what has come, what is done, what can begin."""
        poller = zmq.Poller()
        poller.register(self._tasks, zmq.POLLIN)
        poller.register(self._people, zmq.POLLIN)
        poller.register(engine.fileno(), zmq.POLLIN)
        while not self._state.stopping.is_set() or self._is_busy:
            events = dict(poller.poll(_POLL_MS))
            if self._state.has_grouping_ended.is_set():
                raise PipelineError(f"the grouping of {self._state.name} stopped")
            if engine.fileno() in events or self._is_beat_due:
                self._collect(engine)
            if self._tasks in events:
                self._take()
            self._begin(engine)
            if self._people in events:
                self._forward()
            if self._is_beat_due:
                self._beat(is_loading=False)
                self._look_for_head()

    @property
    def _is_busy(self) -> bool:
        return bool(self._queue or self._running or self._grouping)

    def _take(self) -> None:
        """Queue the frames that the dispatcher gave."""
        for envelope in _envelopes(self._tasks):
            message = envelope.message
            if isinstance(message, Work):
                self._accept(message, envelope.payloads)
            elif isinstance(message, Stop):
                self._state.stopping.set()
            elif isinstance(message, Heard):
                self._heard_s = time.monotonic()

    def _accept(self, work: Work, payloads: Sequence[zmq.Frame]) -> None:
        """Queue frames, or give them back where the pictures do not fit."""
        try:
            self._queue += [_Job(task, image_of(task, data)) for task, data in zip(work.tasks, payloads, strict=True)]
        except (DecodeError, ValueError) as error:
            for task in work.tasks:
                self._fail(task, error)

    def _begin(self, engine: Engine) -> None:
        """Give the engine as many frames as it takes."""
        while self._queue and len(self._running) < engine.capacity:
            job = self._queue.popleft()
            self._prepare(engine, job.image.shape[0], job.image.shape[1])
            self._tickets += 1
            try:
                engine.submit(self._tickets, job.image)
            except EngineError as error:
                self._fail(job.task, error)
            else:
                self._running[self._tickets] = job

    def _prepare(self, engine: Engine, height: int, width: int) -> None:
        """Let the engine compile for a shape that is new, and say so, since that may take long."""
        if (height, width) not in self._shapes:
            self._shapes.add((height, width))
            self._beat(is_loading=True)
            engine.prepare(height, width)
            # What an engine can work on at once is known only now.
            self._announce(engine)

    def _collect(self, engine: Engine) -> None:
        """Pass on to grouping what the engine has done, and tell of what it could not do."""
        try:
            done = engine.completed()
        except InferenceError as error:
            self._fail(self._running.pop(error.ticket).task, error)
            return
        for completed in done:
            job = self._running.pop(completed.ticket)
            self._grouping += 1
            send(self._fields, fields_of(job.task, completed), [completed.heatmaps_chw, completed.pafs_chw])

    def _forward(self) -> None:
        """Pass on to the dispatcher what was grouped."""
        for envelope in _envelopes(self._people):
            self._grouping -= 1
            send(self._tasks, envelope.message, [payload.buffer for payload in envelope.payloads])

    def _look_for_head(self) -> None:
        """Give up where the head has not answered for long: it has gone, or cannot be reached."""
        if time.monotonic() - self._heard_s > self._patience_s:
            raise HeadError(f"the head at {self._replicas_address} has not answered for {self._patience_s:g} s")

    def _fail(self, task: Task, error: Exception) -> None:
        send(self._tasks, Failed(self._state.name, task.source, task.seq, str(error)))

    @property
    def _is_beat_due(self) -> bool:
        return time.monotonic() - self._beat_s >= _HEARTBEAT_S

    def _beat(self, *, is_loading: bool) -> None:
        """Tell the dispatcher that the loop goes round."""
        self._beat_s = time.monotonic()
        send(self._tasks, Heartbeat(self._state.name, is_loading, self._state.credits))


class GroupLoop:
    """Groups field maps into people, in a thread of its own, while the engine goes on."""

    def __init__(
        self,
        context: ZmqContext,
        fields_address: str,
        people_address: str,
        group: Group,
        network: NetworkSpec,
        replica: str,
    ) -> None:
        self._context = context
        self._fields_address = fields_address
        self._people_address = people_address
        self._group = group
        self._network = network
        self._replica = replica

    def run(self) -> None:
        """Group until the work loop says that nothing more comes."""
        with Sockets(self._context) as sockets:
            fields = sockets.open(zmq.PULL, bind=self._fields_address)
            people = sockets.open(zmq.PUSH, connect=self._people_address)
            self._serve(fields, people)

    def _serve(self, fields: ZmqSocket, people: ZmqSocket) -> None:
        while True:
            if not fields.poll(_POLL_MS):
                continue
            envelope = receive(fields)
            if isinstance(envelope.message, Done):
                return
            if isinstance(envelope.message, Fields):
                self._do(people, envelope.message, envelope)

    def _do(self, people: ZmqSocket, message: Fields, envelope: Envelope) -> None:
        started_s = time.perf_counter()
        poses = self._group(maps_of(message, envelope.payloads, self._network.stride))
        group_s = time.perf_counter() - started_s
        posed = posed_of(poses, len(self._network.layout.keypoints), message.infer_s, group_s)
        send(people, Result(self._replica, posed), people_payloads(poses))


def _envelopes(socket: ZmqSocket) -> list[Envelope]:
    """Take every envelope that a socket has; what is not ours is left out."""
    envelopes = []
    while True:
        try:
            envelopes.append(receive(socket))
        except zmq.Again:
            return envelopes
        except DecodeError as error:
            _log.warning("ignored a malformed message: %s", error)


class Replica:
    """Runs one engine and its grouping as two threads.

    Args:
        name: what the dispatcher calls it.
        context: of its sockets.
        address: where the dispatcher listens to replicas.
        serving: what it works with.
        on_end: called whenever one of the threads has ended.
        patience_s: how long the head may be silent before the replica ends with an error, in seconds.
    """

    def __init__(
        self,
        name: str,
        context: ZmqContext,
        address: str,
        serving: Serving,
        on_end: Callable[[], None],
        patience_s: float = math.inf,
    ) -> None:
        self._state = ReplicaState(name)
        fields, people = f"inproc://{name}/fields", f"inproc://{name}/people"
        infer = InferLoop(context, address, fields, people, serving.opener, self._state, patience_s)
        grouping = GroupLoop(context, fields, people, serving.group(), serving.spec, name)

        def on_group_end() -> None:
            self._state.has_grouping_ended.set()
            on_end()

        self._parts = [Part(f"{name}/infer", infer.run, on_end), Part(f"{name}/group", grouping.run, on_group_end)]

    def __repr__(self) -> str:
        return f"<Replica {self._state.name} {[part for part in self._parts if part.is_alive]}>"

    @property
    def name(self) -> str:
        """What the dispatcher calls it."""
        return self._state.name

    @property
    def description(self) -> str:
        """Its engine in a few words; empty until that is open."""
        return self._state.description

    @property
    def is_alive(self) -> bool:
        """True until both threads have ended."""
        return any(part.is_alive for part in self._parts)

    @property
    def error(self) -> BaseException | None:
        """What stopped it; the work loop stops because of the grouping, never the other way round."""
        return next((part.error for part in reversed(self._parts) if part.error), None)

    def start(self) -> None:
        """Start to load."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Finish what it holds, then leave."""
        self._state.stopping.set()

    def kill(self) -> None:
        """Ask it to end; threads cannot be ended."""
        self.stop()

    def join(self, deadline_s: float) -> bool:
        """Wait until both threads have ended; False if one has not by the monotonic clock's `deadline_s`."""
        return all(part.join(max(0.0, deadline_s - time.monotonic())) for part in self._parts)
