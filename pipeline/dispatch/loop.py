"""The dispatcher's thread: messages become events, actions become messages."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from posestream.pipeline.dispatch.actions import Action, Assign, End, Finish, RecallFrame
from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.dispatch.dispatcher import Dispatcher, DispatcherSettings
from posestream.pipeline.dispatch.in_flight import ReplicaView
from posestream.pipeline.errors import DecodeError
from posestream.pipeline.security.gate import Gate, NoGate
from posestream.pipeline.security.guard import OPEN, ListenGuard
from posestream.pipeline.wire.convert import is_whole
from posestream.pipeline.wire.messages import (
    Dropped,
    Envelope,
    Failed,
    Finished,
    Heard,
    Heartbeat,
    Join,
    LaneDrop,
    LaneEnd,
    LaneHello,
    LaneReport,
    Posed,
    Recall,
    ReplicaBye,
    ReplicaHello,
    Result,
    Serve,
    Stop,
    Task,
    Welcome,
    Work,
)
from posestream.pipeline.wire.sockets import Addresses, Sockets, ZmqContext, ZmqSocket, has_more, receive_from, send_to
from posestream.stages.items import Drop, FrameKey

__all__ = ["DispatchLoop", "Report", "report_identity", "results_identity", "tasks_identity"]

_log = logging.getLogger(__name__)

#: Longest wait for a message, in milliseconds: how late a stop or a silent replica is noticed.
_POLL_MS = 50
#: So many malformed messages are logged; more are only counted, lest somebody fill the log.
_TOLD_MALFORMED = 3
#: Replicas whose words are remembered after they have gone.
_REMEMBERED = 1000


def tasks_identity(source: str) -> str:
    """Name the socket through which a lane sends its tasks."""
    return f"{source}/tasks"


def results_identity(source: str) -> str:
    """Name the socket through which a lane receives results."""
    return f"{source}/results"


def report_identity(source: str) -> str:
    """Name the socket through which a lane's process tells of itself."""
    return f"{source}/report"


#: What comes from a lane, and the name of the socket that it comes from: nobody else may say it.
_FROM_LANES: dict[type, Callable[[str], str]] = {
    LaneHello: results_identity,
    Task: tasks_identity,
    LaneDrop: tasks_identity,
    LaneEnd: tasks_identity,
    LaneReport: report_identity,
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a lane's process told last, and when, in seconds of the monotonic clock."""

    message: LaneReport
    payloads: Sequence[zmq.Frame]
    heard_s: float


class DispatchLoop:
    """Listens to lanes and replicas, asks the `Dispatcher` what to do, and does it."""

    def __init__(
        self,
        context: ZmqContext,
        addresses: Addresses,
        serve: Serve,
        settings: DispatcherSettings | None = None,
        guard: ListenGuard = OPEN,
        gate: Gate | NoGate | None = None,
    ) -> None:
        self._context = context
        self._guard = guard
        self._gate = gate or NoGate()
        self._addresses = addresses
        self._serve_message = serve
        self._dispatcher = Dispatcher(settings or DispatcherSettings())
        #: Tasks that wait for a replica, with their pictures.
        self._waiting: dict[FrameKey, tuple[Task, Sequence[zmq.Frame]]] = {}
        self._stopping = threading.Event()
        self._abandoning = threading.Event()
        self._lock = threading.Lock()
        self._reports: dict[str, Report] = {}
        self._descriptions: dict[str, str] = {}
        self._farewells: dict[str, str] = {}
        #: Lanes that listen, in the order in which they came, and what they know of the replicas' credits.
        self._listening: dict[str, None] = {}
        self._told_credits = 0
        #: Replicas that the supervisor found dead before their heartbeats were missed.
        self._dead: deque[str] = deque()
        #: Set once lanes and replicas may connect.
        self.is_listening = threading.Event()
        self.malformed = 0

    def counts(self, source: str) -> FrameCounts:
        """Give a copy of a source's counts."""
        with self._lock:
            counts = self._dispatcher.counts.get(source)
        return counts or FrameCounts()

    def next_seq(self, source: str) -> int:
        """Give the number of the next frame of a source: where the lane of a live one goes on."""
        with self._lock:
            return self._dispatcher.next_seq(source)

    def report(self, source: str) -> Report | None:
        """Give the last report of a lane's process."""
        with self._lock:
            return self._reports.get(source)

    def forget_report(self, source: str) -> None:
        """Forget the reports of a lane's process that died."""
        with self._lock:
            self._reports.pop(source, None)

    def waiting(self, source: str) -> int:
        """Count the frames of a source that wait for a replica."""
        with self._lock:
            return self._dispatcher.waiting(source)

    @property
    def views(self) -> list[ReplicaView]:
        """How each replica is."""
        with self._lock:
            return self._dispatcher.views

    @property
    def replicas(self) -> tuple[str, ...]:
        """The replicas that are there now."""
        with self._lock:
            return self._dispatcher.replicas

    def has_met(self, replica: str) -> bool:
        """True if a replica of this name has ever said hello."""
        with self._lock:
            return replica in self._descriptions

    def description(self, replica: str) -> str:
        """Give a replica's engine in a few words; empty until that is open."""
        with self._lock:
            return self._descriptions.get(replica, "")

    def farewell(self, replica: str) -> str:
        """Give what a replica said when it left; empty if it said nothing."""
        with self._lock:
            return self._farewells.get(replica, "")

    def lose(self, replica: str) -> None:
        """Take back what a replica holds: it is known to be dead."""
        self._dead.append(replica)

    @property
    def redelivered(self) -> int:
        """How often a frame was handed out again."""
        return self._dispatcher.redelivered

    @property
    def recovered(self) -> int:
        """How many results came of frames that had been handed out again."""
        return self._dispatcher.recovered

    def stop(self) -> None:
        """End the loop."""
        self._stopping.set()

    def abandon(self) -> None:
        """End every frame in flight as dropped: nobody is left who could do it."""
        self._abandoning.set()

    def run(self) -> None:
        """Listen until stopped."""
        with Sockets(self._context) as sockets:
            self._lanes = sockets.open(zmq.ROUTER, bind=self._addresses.lanes)
            self._replicas = sockets.open(zmq.ROUTER, bind=self._addresses.replicas)
            self._gate.watch(self._replicas)
            for address in self._addresses.listen:
                sockets.bind(self._replicas, address, self._guard)
            self.is_listening.set()
            self._serve()
            for replica in self._dispatcher.replicas:
                send_to(self._replicas, replica, Stop())

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._lanes, zmq.POLLIN)
        poller.register(self._replicas, zmq.POLLIN)
        while not self._stopping.is_set():
            for socket, _ in poller.poll(_POLL_MS):
                self._drain(socket)
            self._decide(self._tick, ())
            self._tell_credits()
            if self._abandoning.is_set():
                self._decide(lambda: self._dispatcher.abandon(self._dispatcher.counts), ())

    def _tick(self) -> Sequence[Action]:
        now_s = time.monotonic()
        actions: list[Action] = []
        while self._dead:
            actions += self._dispatcher.replica_lost(self._dead.popleft(), now_s)
        return [*actions, *self._dispatcher.tick(now_s)]

    def _tell_credits(self) -> None:
        """Let lanes have as many frames in flight as the replicas can hold."""
        if self._dispatcher.credits != self._told_credits:
            self._told_credits = self._dispatcher.credits
            for source in self._listening:
                send_to(self._lanes, results_identity(source), Welcome(self._told_credits))

    def _drain(self, socket: ZmqSocket) -> None:
        """Take everything that a socket has."""
        while has_more(socket):
            try:
                peer, envelope = receive_from(socket)
            except DecodeError as error:
                self._ignore(str(error))
                continue
            if self._may_say(socket, peer, envelope.message):
                self._receive(envelope)
            else:
                self._ignore(f"{type(envelope.message).__name__} from {peer!r}")

    def _may_say(self, socket: ZmqSocket, peer: str, message: Any) -> bool:
        """Tell whether a message belongs to this socket and to who sent it: nobody speaks for another one."""
        if socket is self._lanes:
            identity = _FROM_LANES.get(type(message))
            return identity is not None and peer == identity(message.source)
        return type(message) in self._handlers and type(message) not in _FROM_LANES and peer == message.replica

    def _ignore(self, what: str) -> None:
        """Count a message that is none of ours."""
        self.malformed += 1
        is_told = self.malformed <= _TOLD_MALFORMED
        _log.log(logging.WARNING if is_told else logging.DEBUG, "ignored a malformed message: %s", what)

    def _receive(self, envelope: Envelope) -> None:
        """Turn a message into an event."""
        message = envelope.message
        now_s = time.monotonic()
        handle = self._handlers[type(message)]
        self._decide(lambda: handle(envelope, now_s), envelope.payloads, message)

    @functools.cached_property
    def _handlers(self) -> dict[type, Callable[[Envelope, float], Sequence[Action]]]:
        """The event of each message."""
        dispatcher = self._dispatcher

        def event(call: Callable[[Any, float], Sequence[Action]]) -> Callable[[Envelope, float], Sequence[Action]]:
            return lambda envelope, now_s: call(envelope.message, now_s)

        return {
            LaneHello: event(self._lane_hello),
            Task: self._task,
            LaneDrop: event(lambda m, _: dispatcher.frame_dropped(Drop(FrameKey(m.source, m.seq), m.stage, m.reason))),
            LaneEnd: event(lambda m, _: dispatcher.lane_ended(m.source)),
            LaneReport: self._lane_report,
            Join: event(self._join),
            ReplicaHello: event(self._replica_hello),
            Heartbeat: event(self._heartbeat),
            Result: self._result,
            Failed: event(self._failed),
            ReplicaBye: event(self._replica_bye),
        }

    def _lane_hello(self, hello: LaneHello, _now_s: float) -> Sequence[Action]:
        actions = self._dispatcher.lane_joined(
            hello.source, is_live=hello.is_live, max_age_s=hello.max_age_s, first_seq=hello.first_seq
        )
        # Tasks of a lane that died are not to be taken for those of the lane that goes on.
        for key in [key for key in self._waiting if key.source == hello.source]:
            del self._waiting[key]
        self._listening[hello.source] = None
        send_to(self._lanes, results_identity(hello.source), Welcome(self._dispatcher.credits))
        return actions

    def _lane_report(self, envelope: Envelope, now_s: float) -> Sequence[Action]:
        report = envelope.message
        assert isinstance(report, LaneReport)  # noqa: S101 - the table of handlers says so
        self._reports[report.source] = Report(report, envelope.payloads, now_s)
        return ()

    def _join(self, join: Join, _now_s: float) -> Sequence[Action]:
        send_to(self._replicas, join.replica, self._serve_message)
        return ()

    def _replica_hello(self, hello: ReplicaHello, now_s: float) -> Sequence[Action]:
        self._remember(self._descriptions, hello.replica, hello.description)
        return self._dispatcher.replica_joined(hello.replica, hello.credits, now_s)

    def _replica_bye(self, bye: ReplicaBye, now_s: float) -> Sequence[Action]:
        self._remember(self._farewells, bye.replica, bye.error)
        leave = self._dispatcher.replica_lost if bye.has_failed else self._dispatcher.replica_left
        return leave(bye.replica, now_s)

    def _remember(self, told: dict[str, str], replica: str, text: str) -> None:
        """Note what a replica told, and forget the oldest of those that have gone: workers come and go for months."""
        told[replica] = text
        if len(told) > _REMEMBERED:
            present = self._dispatcher.replicas
            del told[next(name for name in told if name == replica or name not in present)]

    def _heartbeat(self, beat: Heartbeat, now_s: float) -> Sequence[Action]:
        send_to(self._replicas, beat.replica, Heard())
        return self._dispatcher.replica_heard(
            beat.replica, now_s, is_loading=beat.is_loading, credit=beat.credits, held=beat.held
        )

    def _task(self, envelope: Envelope, now_s: float) -> Sequence[Action]:
        task = envelope.message
        assert isinstance(task, Task)  # noqa: S101 - the table of handlers says so
        key = FrameKey(task.source, task.seq)
        if self._dispatcher.expects(key):
            self._waiting[key] = (task, envelope.payloads)
        return self._dispatcher.frame_taken(key, task.captured_s, now_s)

    def _result(self, envelope: Envelope, now_s: float) -> Sequence[Action]:
        result = envelope.message
        assert isinstance(result, Result)  # noqa: S101 - the table of handlers says so
        posed = result.posed
        key = FrameKey(posed.source, posed.seq)
        if not is_whole(posed, envelope.payloads):
            self._ignore(f"a result of {result.replica} whose payloads do not fit")
            return self._dispatcher.failed(result.replica, key, now_s)
        return self._dispatcher.result(result.replica, key, posed.infer_s, now_s)

    def _failed(self, failed: Failed, now_s: float) -> Sequence[Action]:
        _log.warning("%s could not do frame %d of %s: %s", failed.replica, failed.seq, failed.source, failed.error)
        return self._dispatcher.failed(failed.replica, FrameKey(failed.source, failed.seq), now_s)

    def _decide(
        self, event: Callable[[], Sequence[Action]], payloads: Sequence[zmq.Frame], message: object = None
    ) -> None:
        """Let the dispatcher decide under the lock, then send what it decided."""
        with self._lock:
            actions = event()
        unreachable: dict[str, None] = {}
        for action in actions:
            if isinstance(action, Assign):
                if not self._assign(action):
                    unreachable[action.replica] = None
            elif isinstance(action, End):
                self._end(action, message, payloads)
            elif isinstance(action, RecallFrame):
                send_to(self._lanes, tasks_identity(action.key.source), Recall(action.key.source, action.key.seq))
            elif isinstance(action, Finish):
                self._listening.pop(action.source, None)
                send_to(self._lanes, results_identity(action.source), Finished(action.source))
        for replica in unreachable:
            # Its connection was cut; if it comes back, its next heartbeat tells.
            self._decide(functools.partial(self._dispatcher.replica_left, replica, time.monotonic()), ())

    def _assign(self, action: Assign) -> bool:
        task, payloads = self._waiting.pop(action.key)
        return send_to(self._replicas, action.replica, Work((task,)), payloads)

    def _end(self, end: End, message: object, payloads: Sequence[zmq.Frame]) -> None:
        self._waiting.pop(end.key, None)
        lane = results_identity(end.key.source)
        if end.drop is None:
            assert isinstance(message, Result)  # noqa: S101 - only a result ends a frame with poses
            posed: Posed = message.posed
            send_to(self._lanes, lane, posed, payloads)
        else:
            send_to(self._lanes, lane, Dropped(end.key.source, end.key.seq, end.drop.stage, end.drop.reason))
