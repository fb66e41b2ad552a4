"""A replica's work loop: pulls frames from the dispatcher, keeps its engine full, and gives people back."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing

import zmq

from posestream.models.engines.base import Engine
from posestream.models.errors import EngineError, InferenceError
from posestream.pipeline.attention import Attention
from posestream.pipeline.errors import DecodeError, HeadError, HungError, OtherHeadError, PipelineError
from posestream.pipeline.replica.frame_job import FrameJob
from posestream.pipeline.replica.freshness import Freshness, whole_batches
from posestream.pipeline.replica.progress import ReplicaProgress
from posestream.pipeline.replica.serving import Serving
from posestream.pipeline.replica.upcoming import Upcoming
from posestream.pipeline.replica.vigil import Vigil
from posestream.pipeline.wire.convert import fields_of, image_of
from posestream.pipeline.wire.envelope import Envelope
from posestream.pipeline.wire.messages import (
    Done,
    Failed,
    Heard,
    Heartbeat,
    ReplicaBye,
    ReplicaHello,
    Result,
    Stop,
    Task,
    Work,
)
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, ZmqSocket, has_more, receive, send
from posestream.stages.items import FrameKey

__all__ = ["InferLoop"]

_log = logging.getLogger(__name__)

#: Time between two heartbeats, in seconds.
_HEARTBEAT_S = 0.5
#: Longest wait for an event, in milliseconds.
_POLL_MS = 100
#: Frames that wait in a replica beyond those its engine works on, so that the engine never waits for a hop; a whole
#: batch where it takes more of them together.
_PREFETCH = 2


class InferLoop:
    """A replica's work loop: keeps its engine full, and forwards what was grouped to the dispatcher."""

    def __init__(
        self,
        context: ZmqContext,
        replicas_address: str,
        fields_address: str,
        people_address: str,
        serving: Serving,
        state: ReplicaProgress,
        patience_s: float = math.inf,
    ) -> None:
        self._context = context
        self._replicas_address = replicas_address
        self._fields_address = fields_address
        self._people_address = people_address
        self._open_engine = serving.opener
        self._ensemble = serving.ensemble()
        self._freshness = Freshness(self._ensemble.count)
        self._vigil = Vigil(serving.hang_s)
        self._state = state
        #: Frames of which the engine has not all views yet.
        self._upcoming = Upcoming()
        #: By ticket, the frame and which view of it.
        self._running: dict[int, tuple[FrameJob, int]] = {}
        self._tickets = 0
        #: What was accepted and not yet given back.
        self._held: dict[FrameKey, None] = {}
        self._grouping = 0
        self._beat_s = 0.0
        #: Goes only while the loop goes round: an engine may take minutes to open, and who is stopped hears nobody.
        self._attention = Attention()
        #: When the head was last heard, on that clock.
        self._heard_s = 0.0
        self._patience_s = patience_s
        self._shapes: set[tuple[int, int]] = set()

    def __repr__(self) -> str:
        return (
            f"<InferLoop {self._state.name} queued={len(self._upcoming)} running={len(self._running)} "
            f"grouping={self._grouping}>"
        )

    def run(self) -> None:
        """Work until stopped; then finish what is held, and say goodbye."""
        name, head = self._state.name, self._state.head
        with Sockets(self._context) as sockets:
            self._tasks = sockets.open(zmq.DEALER, connect=self._replicas_address, identity=name)
            self._fields = sockets.open(zmq.PUSH, connect=self._fields_address)
            self._people = sockets.open(zmq.PULL, bind=self._people_address)
            bye = ReplicaBye(name, head, False, "")
            try:
                send(self._tasks, ReplicaHello(name, head, "", 0, 1))
                with closing(self._open_engine()) as engine:
                    self._announce(engine)
                    try:
                        self._work(engine)
                    except HungError as error:
                        # Before the engine is closed, which may never end.
                        send(self._tasks, ReplicaBye(name, head, True, str(error)))
                        self._state.hang = error
                        raise
            except BaseException as error:
                bye = ReplicaBye(name, head, True, str(error))
                raise
            finally:
                if not self._state.has_grouping_ended.is_set():
                    send(self._fields, Done())
                send(self._tasks, bye)

    def _announce(self, engine: Engine) -> None:
        state = self._state
        state.batch = engine.batch
        whole = whole_batches(engine.capacity, self._ensemble.count, engine.batch)
        state.credits = whole + max(engine.batch, _PREFETCH)
        state.fresh = self._freshness.frames(engine)
        state.description = engine.description
        state.is_ready.set()
        send(
            self._tasks,
            ReplicaHello(state.name, state.head, engine.description, state.credits, state.batch, state.fresh),
        )

    def _work(self, engine: Engine) -> None:
        """Go round: what has come, what is done, what can begin."""
        poller = zmq.Poller()
        poller.register(self._tasks, zmq.POLLIN)
        poller.register(self._people, zmq.POLLIN)
        poller.register(engine.fileno(), zmq.POLLIN)
        while not self._state.abandoned.is_set() and (not self._state.stopping.is_set() or self._is_busy):
            events = dict(poller.poll(_POLL_MS))
            self._vigil.look(time.monotonic())
            if self._state.has_grouping_ended.is_set():
                raise PipelineError(f"the grouping of {self._state.name} stopped")
            if engine.fileno() in events or self._is_beat_due:
                self._collect(engine)
            if self._tasks in events:
                self._take()
            self._attention.look(time.monotonic())
            self._begin(engine)
            if self._people in events:
                self._forward()
            if self._is_beat_due:
                self._look_for_hang()
                self._beat(is_loading=False)
                self._look_for_head()

    @property
    def _is_busy(self) -> bool:
        return bool(self._upcoming or self._running or self._grouping)

    def _take(self) -> None:
        """Queue the frames that the dispatcher gave."""
        for envelope in _envelopes(self._tasks):
            message = envelope.message
            if isinstance(message, Work):
                self._accept(message, envelope.payloads)
            elif isinstance(message, Stop):
                self._state.stopping.set()
            elif isinstance(message, Heard):
                self._hear(message)

    def _hear(self, heard: Heard) -> None:
        """Note that the head is there, unless it is another one: what is held here is of no use to that."""
        if heard.head != self._state.head:
            raise OtherHeadError(f"another head is at {self._replicas_address} now")
        self._heard_s = self._attention.seconds

    def _accept(self, work: Work, payloads: Sequence[zmq.Frame]) -> None:
        """Queue frames, and give back those whose pictures do not fit."""
        for task, payload in itertools.zip_longest(work.tasks, payloads[: len(work.tasks)]):
            try:
                if len(work.tasks) != len(payloads):
                    raise DecodeError(f"{len(payloads)} pictures of {len(work.tasks)} frames")
                self._upcoming.add(FrameJob(task, image_of(task, payload), self._ensemble))
                self._held[FrameKey(task.source, task.seq)] = None
            except DecodeError as error:
                self._fail(task, error)

    def _begin(self, engine: Engine) -> None:
        """Give the engine as many views of frames as it takes."""
        while jobs := self._upcoming.next(engine.batch, engine.capacity - len(self._running)):
            views = [job.next_view() for job in jobs]
            if jobs[0].has_begun:
                self._upcoming.leave(jobs)
            self._prepare(engine, *views[0][1].shape[:2])
            tickets = range(self._tickets, self._tickets + len(jobs))
            self._tickets += len(jobs)
            try:
                engine.submit(tickets, [image for _, image in views])
            except EngineError as error:
                self._give_up(jobs, error)
            else:
                numbers = [number for number, _ in views]
                for ticket, job in zip(tickets, jobs, strict=True):
                    self._vigil.begun(ticket, job.key, views[0][1].shape[:2])
                self._freshness.begun(engine, tickets, len(self._running) + len(jobs))
                self._running |= zip(tickets, zip(jobs, numbers, strict=True), strict=True)

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
            for ticket in error.tickets:
                self._freshness.ended(ticket, None)
                self._vigil.ended(ticket, has_failed=True)
            self._give_up([self._running.pop(ticket)[0] for ticket in error.tickets], error)
            return
        for completed in done:
            self._freshness.ended(completed.ticket, completed.elapsed_s)
            self._vigil.ended(completed.ticket)
            job, number = self._running.pop(completed.ticket)
            job.add(number, completed)
            if job.is_done and not job.has_failed:
                self._grouping += 1
                self._vigil.grouping(job.key)
                heatmaps, pafs = maps = job.maps()
                send(self._fields, fields_of(job.task, maps, job.infer_s), [heatmaps, pafs])
        if self._state.fresh != self._freshness.frames(engine):
            self._announce(engine)

    def _give_up(self, jobs: Sequence[FrameJob], error: Exception) -> None:
        """Try frames that failed together one by one; tell once that one which failed alone cannot be done."""
        self._upcoming.leave(jobs)
        failed = [job for job in jobs if not job.has_failed]
        for job in failed:
            job.has_failed = True
        if len(jobs) > 1:
            _log.warning("an inference of %d frames failed; they are tried one by one: %s", len(jobs), error)
            self._upcoming.add_again([job.again() for job in failed])
        else:
            for job in failed:
                self._fail(job.task, error)

    def _forward(self) -> None:
        """Pass on to the dispatcher what was grouped."""
        for envelope in _envelopes(self._people):
            self._grouping -= 1
            self._vigil.grouped()
            if isinstance(envelope.message, Result):
                self._held.pop(FrameKey(envelope.message.posed.source, envelope.message.posed.seq), None)
            send(self._tasks, envelope.message, [payload.buffer for payload in envelope.payloads])

    def _look_for_hang(self) -> None:
        """Give up where an inference or grouping never ends: the loop goes round, but is of no use to those frames."""
        if what := self._vigil.overdue():
            raise HungError(what)

    def _look_for_head(self) -> None:
        """Give up where the head has not answered for long: it has gone, or cannot be reached."""
        if self._attention.seconds - self._heard_s > self._patience_s:
            raise HeadError(f"the head at {self._replicas_address} has not answered for {self._patience_s:g} s")

    def _fail(self, task: Task, error: Exception) -> None:
        self._held.pop(FrameKey(task.source, task.seq), None)
        send(self._tasks, Failed(self._state.name, self._state.head, task.source, task.seq, str(error)))

    @property
    def _is_beat_due(self) -> bool:
        return time.monotonic() - self._beat_s >= _HEARTBEAT_S

    def _beat(self, *, is_loading: bool) -> None:
        """Tell the dispatcher that the loop goes round."""
        self._beat_s = time.monotonic()
        # What has come while the engine compiled is held as well.
        self._take()
        state = self._state
        held = tuple(self._held)
        beat = Heartbeat(state.name, state.head, is_loading, state.credits, state.batch, state.fresh, held)
        send(self._tasks, beat)


def _envelopes(socket: ZmqSocket) -> list[Envelope]:
    """Take every envelope that a socket has; what is not ours is left out."""
    envelopes = []
    while has_more(socket):
        try:
            envelopes.append(receive(socket))
        except DecodeError as error:
            _log.warning("ignored a malformed message: %s", error)
    return envelopes
