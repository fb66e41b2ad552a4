"""The dispatcher's thread: messages become events, actions become messages."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from posestream.pipeline.dispatch.actions import Action
from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.dispatch.delivery import Delivery
from posestream.pipeline.dispatch.dispatcher import Dispatcher, DispatcherSettings
from posestream.pipeline.dispatch.events import Events
from posestream.pipeline.dispatch.in_flight import ReplicaView
from posestream.pipeline.dispatch.replica_ports import ReplicaPorts
from posestream.pipeline.dispatch.told import Report, Told
from posestream.pipeline.errors import DecodeError
from posestream.pipeline.security.gate import Gate, NoGate
from posestream.pipeline.security.guard import OPEN, ListenGuard
from posestream.pipeline.wire.envelope import Envelope
from posestream.pipeline.wire.identities import lane_speaker
from posestream.pipeline.wire.messages import Result, Serve, Stop
from posestream.pipeline.wire.sockets import Addresses, Sockets, ZmqContext, ZmqSocket, has_more, receive_from

__all__ = ["DispatchLoop", "Report"]

_log = logging.getLogger(__name__)

#: Longest wait for a message, in milliseconds: how late a stop or a silent replica is noticed.
_POLL_MS = 50
#: Messages of one socket that are taken before the others have their turn.
_AT_ONCE = 100
#: So many malformed messages are logged; more are only counted, lest somebody fill the log.
_TOLD_MALFORMED = 3


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
        self._stopping = threading.Event()
        self._winding_down = threading.Event()
        self._abandoning = threading.Event()
        self._lock = threading.Lock()
        self._told = Told()
        #: Replicas that the supervisor found dead before their heartbeats were missed.
        self._dead: deque[str] = deque()
        #: Sources whose lanes have ended for good.
        self._gone: deque[str] = deque()
        #: Set once lanes and replicas may connect.
        self.is_listening = threading.Event()
        self.malformed = 0

    def __repr__(self) -> str:
        return f"<DispatchLoop {self._dispatcher} {self._delivery}>" if self.is_listening.is_set() else "<DispatchLoop>"

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
            return self._told.reports.get(source)

    @property
    def listened_s(self) -> float:
        """How long it has listened, in seconds: the clock by which silence is measured."""
        return self._told.attention.seconds

    def forget_report(self, source: str) -> None:
        """Forget the reports of a lane's process that died."""
        with self._lock:
            self._told.reports.pop(source, None)

    def settle(self, source: str) -> None:
        """Keep a source's counts only: its lane has ended for good. Sources come and go for months."""
        with self._lock:
            self._dispatcher.settle(source)
        self._gone.append(source)

    def forget(self, source: str) -> None:
        """Keep nothing of a source whose lane has ended for good."""
        with self._lock:
            self._dispatcher.forget(source)
            self._told.reports.pop(source, None)

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
            return replica in self._told.descriptions

    def description(self, replica: str) -> str:
        """Give a replica's engine in a few words; empty until that is open."""
        with self._lock:
            return self._told.descriptions.get(replica, "")

    def farewell(self, replica: str) -> str:
        """Give what a replica said when it left; empty if it said nothing."""
        with self._lock:
            return self._told.farewells.get(replica, "")

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

    def wind_down(self) -> None:
        """Begin on no more frames of live sources: the run is stopped."""
        self._winding_down.set()

    def abandon(self) -> None:
        """End every frame in flight as dropped: nobody is left who could do it."""
        self._abandoning.set()

    def run(self) -> None:
        """Listen until stopped."""
        with Sockets(self._context) as sockets:
            self._lanes = sockets.open(zmq.ROUTER, bind=self._addresses.lanes)
            self._replicas = ReplicaPorts(sockets, self._addresses, self._guard, self._gate)
            self._delivery = Delivery(self._lanes, self._replicas)
            self._events = Events(
                self._dispatcher, self._delivery, self._replicas, self._told, self._serve_message, self._ignore
            )
            self.is_listening.set()
            self._serve()
            for replica in self._dispatcher.replicas:
                self._replicas.send(replica, Stop())

    def _serve(self) -> None:
        poller = zmq.Poller()
        for listener in (self._lanes, *self._replicas.sockets):
            poller.register(listener, zmq.POLLIN)
        while not self._stopping.is_set():
            for socket, _ in poller.poll(self._patience_ms()):
                self._drain(socket)
            self._told.attention.look(time.monotonic())
            if self._winding_down.is_set():
                self._decide(lambda: self._dispatcher.wind_down(time.monotonic()))
            self._decide(self._tick)
            while self._gone:
                self._delivery.forget(self._gone.popleft())
            self._delivery.tell_credits(self._dispatcher.credits)
            if self._abandoning.is_set():
                self._decide(lambda: self._dispatcher.abandon(self._dispatcher.counts))

    def _patience_ms(self) -> int:
        """Give how long to wait for a message: no longer than a batch waits to be filled."""
        due_s = self._dispatcher.due_s
        return _POLL_MS if due_s is None else max(0, min(_POLL_MS, math.ceil((due_s - time.monotonic()) * 1000)))

    def _tick(self) -> Sequence[Action]:
        now_s = time.monotonic()
        actions: list[Action] = []
        while self._dead:
            actions += self._dispatcher.replica_lost(self._dead.popleft(), now_s)
        return [*actions, *self._dispatcher.tick(now_s)]

    def _drain(self, socket: ZmqSocket) -> None:
        """Take what a socket has, but no more than leaves the others their turn: one may be flooded."""
        for _ in range(_AT_ONCE):
            if not has_more(socket):
                return
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
        lane = lane_speaker(message)
        if socket is self._lanes:
            return peer == lane
        if not self._events.knows(message) or lane is not None or peer != message.replica:
            return False
        return self._replicas.may_be(socket, peer)

    def _ignore(self, what: str) -> None:
        """Count a message that is none of ours."""
        self.malformed += 1
        is_told = self.malformed <= _TOLD_MALFORMED
        _log.log(logging.WARNING if is_told else logging.DEBUG, "ignored a malformed message: %s", what)

    def _receive(self, envelope: Envelope) -> None:
        """Turn a message into an event."""
        now_s = time.monotonic()
        self._decide(lambda: self._events.do(envelope, now_s), envelope)

    def _decide(self, event: Callable[[], Sequence[Action]], envelope: Envelope | None = None) -> None:
        """Let the dispatcher decide under the lock, then send what it decided; `envelope` is what made the event."""
        with self._lock:
            actions = event()
        result = envelope.message if envelope is not None and isinstance(envelope.message, Result) else None
        for replica in self._delivery.do(actions, result, envelope.payloads if envelope else ()):
            # Its connection was cut; if it comes back, its next heartbeat tells.
            self._decide(functools.partial(self._dispatcher.replica_left, replica, time.monotonic()))
