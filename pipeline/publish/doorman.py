"""Watches the connections of sockets that strangers reach: who sends more than any subscriber has to say is cut off."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from posestream.pipeline.publish.guest import Allowance, Guest, host_of, new_arrivals
from posestream.pipeline.security.refusal import REFUSAL_EVENTS, RefusalCount
from posestream.pipeline.wire.sockets import ZmqContext, ZmqSocket

__all__ = ["Doorman"]

_log = logging.getLogger(__name__)

#: Longest wait for something to come, in milliseconds: how late a stop is noticed.
_POLL_MS = 50
#: How often connections are looked at while something comes, in seconds: whoever floods has that long.
_LOOK_S = 0.01
#: Connections at once; beyond them the newest ones of the host that has most are cut off.
_MOST_CONNECTIONS = 1000
#: What all connections may have in memory together, in bytes as they came: it may take thirty times as many there.
_MOST_HELD = 3 << 20
#: For so long a host has no new connection after one of its own was cut off, in seconds: ten thousand connections are
#: no way around what one may send.
_UNWELCOME_S = 2.0
#: Hosts that are remembered for it.
_MOST_HOSTS = 1000
#: So many are logged; more are only counted, lest somebody fill the log.
_TOLD = 3
_EVENTS = int(zmq.EVENT_ACCEPTED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED) | REFUSAL_EVENTS


class Doorman:
    """Looks after connections in a thread of its own.

    ZeroMQ keeps each distinct subscription, and each part of a message until the last one has come, without any bound;
    what connections may have sent at all is the bound then, for each and for all together. `watch` and `note_read` are
    called by the thread that owns the sockets.

    Args:
        context: of the sockets.
        has_keys: True where clients need keys.
    """

    def __init__(self, context: ZmqContext, *, has_keys: bool) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._watched: list[tuple[ZmqSocket, Allowance]] = []
        self._arrivals = new_arrivals()
        #: By the socket's monitor and ZeroMQ's descriptor, the newest ones last; and by our own descriptor.
        self._guests: dict[tuple[ZmqSocket, int], Guest] = {}
        self._places: dict[int, tuple[ZmqSocket, int]] = {}
        #: Until when each host is not welcome.
        self._unwelcome: OrderedDict[str, float] = OrderedDict()
        self._refusals = RefusalCount(_log, has_keys=has_keys)
        self._stopping = threading.Event()
        #: Connections that were cut off.
        self.cut = 0
        self._thread = threading.Thread(target=self._run, name="doorman", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Doorman of {len(self._guests)} connections, {self.cut} cut off>"

    @property
    def refused(self) -> int:
        """Connections that spoke another language or did not have the right keys."""
        return self._refusals.refused

    def watch(self, socket: ZmqSocket, allowance: Allowance) -> None:
        """Look after a socket's connections, before it listens."""
        with self._lock:
            report = f"inproc://posestream-doorman/{id(self)}/{len(self._watched)}"
            socket.monitor(report, _EVENTS)
            monitor = self._context.socket(zmq.PAIR)
            monitor.linger = 0
            monitor.connect(report)
            self._watched.append((monitor, allowance))

    def note_read(self, part: zmq.Frame, size: int) -> None:
        """Note that a message was read to its end, by one of its parts: it is in nobody's memory any more."""
        try:
            descriptor = int(part.get(zmq.SRCFD))
        except zmq.ZMQError:
            return  # of this host's own processes, or not told
        for monitor, _ in self._watched:
            if (guest := self._guests.get((monitor, descriptor))) is not None:
                guest.note_read(size)

    def is_welcome(self, host: str) -> bool:
        """True unless a connection of this host was cut off a moment ago; any thread may ask."""
        return time.monotonic() >= self._unwelcome.get(host_of(host), 0.0)

    def close(self) -> None:
        """Look no more; closing again does nothing."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with self._lock:
                    watched = list(self._watched)
                poller = zmq.Poller()
                for one in (*self._arrivals.descriptors, *(monitor for monitor, _ in watched)):
                    poller.register(one, zmq.POLLIN)
                if poller.poll(_POLL_MS):
                    for monitor, allowance in watched:
                        while monitor.poll(0):
                            self._note(monitor, parse_monitor_message(monitor.recv_multipart()), allowance)
                    self._look()
                    self._stopping.wait(_LOOK_S)
        finally:
            for monitor, _ in self._watched:
                monitor.close()
            for place in list(self._guests):
                self._forget(place)
            self._arrivals.close()

    def _note(self, monitor: ZmqSocket, event: Mapping[str, Any], allowance: Allowance) -> None:
        # One socket's reports come in order, those of two do not.
        place = monitor, int(event["value"])
        if event["event"] & REFUSAL_EVENTS:
            self._refusals.note(event)
        elif event["event"] == zmq.EVENT_ACCEPTED:
            self._forget(place)
            try:
                guest = Guest(event["value"], allowance, time.monotonic())
            except OSError:
                return  # it has gone already, or is no stranger
            self._guests[place] = guest
            self._places[guest.connection.fileno()] = place
            self._arrivals.add(guest)
        else:
            # Ours closed too, the other side is told of the end.
            self._forget(place)

    def _look(self) -> None:
        """Look at those from which something came, and cut off who has too much, or is one too many."""
        now_s = time.monotonic()
        for descriptor in self._arrivals.take():
            place = self._places.get(descriptor)
            guest = self._guests.get(place) if place is not None else None
            if place is None or guest is None:
                continue
            try:
                guest.look(now_s)
            except OSError:
                self._forget(place)  # it has gone by itself
                continue
            if guest.has_too_much:
                self._cut_off(place, now_s)
        while len(self._guests) > _MOST_CONNECTIONS:
            hosts = Counter(guest.host for guest in self._guests.values())
            ((host, _),) = hosts.most_common(1)
            self._cut_off(next(place for place in reversed(self._guests) if self._guests[place].host == host), now_s)
        held = sum(guest.held for guest in self._guests.values())
        while held > _MOST_HELD:
            place, guest = max(self._guests.items(), key=lambda one: one[1].held)
            held -= guest.held
            self._cut_off(place, now_s)

    def _cut_off(self, place: tuple[ZmqSocket, int], now_s: float) -> None:
        guest = self._guests[place]
        guest.cut_off()
        self._forget(place)
        self.cut += 1
        level = logging.WARNING if self.cut <= _TOLD else logging.DEBUG
        _log.log(level, "cut off: a connection that sent more than any subscriber has to say, or one too many")
        self._unwelcome[guest.host] = now_s + _UNWELCOME_S
        self._unwelcome.move_to_end(guest.host)
        if len(self._unwelcome) > _MOST_HOSTS:
            self._unwelcome.popitem(last=False)

    def _forget(self, place: tuple[ZmqSocket, int]) -> None:
        guest = self._guests.pop(place, None)
        if guest is not None:
            del self._places[guest.connection.fileno()]
            self._arrivals.remove(guest)
            guest.connection.close()
