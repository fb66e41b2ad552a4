"""Watches the connections of sockets that strangers reach: who sends more than any subscriber has to say is cut off."""

from __future__ import annotations

import logging
import os
import socket as plain_socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from posestream.pipeline.wire.sockets import ZmqContext, ZmqSocket

__all__ = ["Allowance", "Doorman"]

_log = logging.getLogger(__name__)

#: How often connections are looked at, in seconds: whoever floods has that long.
_LOOK_S = 0.02
#: Connections at once; the newest ones beyond them are cut off.
_MOST_CONNECTIONS = 1000
#: For so long a host has no new connection after one of its own was cut off, in seconds: ten thousand connections are
#: no way around what one may send.
_UNWELCOME_S = 2.0
#: Hosts that are remembered for it.
_MOST_HOSTS = 1000
#: So many are logged; more are only counted, lest somebody fill the log.
_TOLD = 3
#: The kernel's record of a connection, and where in it the bytes stand that have come (Linux, tcp(7)).
_TCP_INFO = getattr(plain_socket, "TCP_INFO", None)
_INFO_BYTES, _RECEIVED = 192, struct.Struct("=128xQ")
#: What a socket reports of a client that could not even ask to be let in.
_REFUSALS = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED | _REFUSALS


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a connection may send: so many bytes at once, and so many a second beside."""

    at_once: int
    per_s: int


@dataclass(frozen=True, slots=True)
class _Guest:
    """A connection: our own descriptor of it, which stays its own whatever ZeroMQ closes and the system gives away."""

    connection: plain_socket.socket
    host: str
    since_s: float
    allowance: Allowance

    def sent(self) -> int:
        """How many bytes it has sent."""
        if _TCP_INFO is None:
            return 0
        info = self.connection.getsockopt(plain_socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
        return int(_RECEIVED.unpack_from(info)[0]) if len(info) >= _RECEIVED.size else 0


class Doorman:
    """Looks after connections in a thread of its own.

    ZeroMQ keeps each distinct subscription, and each part of a message until the last one has come, without any bound;
    what a connection may send at all is the bound then. `watch` is called by the thread that owns a socket.
    """

    def __init__(self, context: ZmqContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._watched: list[tuple[ZmqSocket, Allowance]] = []
        self._guests: dict[tuple[ZmqSocket, int], _Guest] = {}
        #: Until when each host is not welcome.
        self._unwelcome: OrderedDict[str, float] = OrderedDict()
        self._stopping = threading.Event()
        #: Connections that were cut off, and those that spoke another language or had no keys.
        self.cut = 0
        self.refused = 0
        self._thread = threading.Thread(target=self._run, name="doorman", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Doorman of {len(self._guests)} connections, {self.cut} cut off>"

    def watch(self, socket: ZmqSocket, allowance: Allowance) -> None:
        """Look after a socket's connections, before it listens."""
        with self._lock:
            report = f"inproc://posestream-doorman/{id(self)}/{len(self._watched)}"
            socket.monitor(report, int(_EVENTS))
            monitor = self._context.socket(zmq.PAIR)
            monitor.linger = 0
            monitor.connect(report)
            self._watched.append((monitor, allowance))

    def is_welcome(self, host: str) -> bool:
        """True unless a connection of this host was cut off a moment ago; any thread may ask."""
        return time.monotonic() >= self._unwelcome.get(host, 0.0)

    def close(self) -> None:
        """Look no more; closing again does nothing."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_S):
                with self._lock:
                    watched = list(self._watched)
                for monitor, allowance in watched:
                    while monitor.poll(0):
                        self._note(monitor, parse_monitor_message(monitor.recv_multipart()), allowance)
                self._look()
        finally:
            for monitor, _ in self._watched:
                monitor.close()
            for guest in self._guests.values():
                guest.connection.close()

    def _note(self, monitor: ZmqSocket, event: Mapping[str, Any], allowance: Allowance) -> None:
        # One socket's reports come in order, those of two do not.
        descriptor = monitor, int(event["value"])
        if event["event"] & _REFUSALS:
            self.refused += 1
            _tell(self.refused, "turned away: a client that does not have this head's key, or speaks otherwise")
        elif event["event"] == zmq.EVENT_ACCEPTED:
            self._forget(descriptor)
            try:
                connection = plain_socket.socket(fileno=os.dup(event["value"]))
                host = str(connection.getpeername()[0])
            except OSError:
                return  # it has gone already
            self._guests[descriptor] = _Guest(connection, host, time.monotonic(), allowance)
        else:
            # Ours closed too, the other side is told of the end.
            self._forget(descriptor)

    def _look(self) -> None:
        now_s = time.monotonic()
        for number, (descriptor, guest) in enumerate(list(self._guests.items())):
            allowed = guest.allowance.at_once + guest.allowance.per_s * (now_s - guest.since_s)
            try:
                is_too_much = guest.sent() > allowed or number >= _MOST_CONNECTIONS
                if is_too_much:
                    guest.connection.shutdown(plain_socket.SHUT_RDWR)
            except OSError:
                is_too_much = False  # it has gone by itself
            if is_too_much:
                self.cut += 1
                _tell(self.cut, "cut off: a connection that sent more than any subscriber has to say, or one too many")
                self._unwelcome[guest.host] = now_s + _UNWELCOME_S
                self._unwelcome.move_to_end(guest.host)
                if len(self._unwelcome) > _MOST_HOSTS:
                    self._unwelcome.popitem(last=False)
                self._forget(descriptor)

    def _forget(self, descriptor: tuple[ZmqSocket, int]) -> None:
        guest = self._guests.pop(descriptor, None)
        if guest is not None:
            guest.connection.close()


def _tell(number: int, what: str) -> None:
    _log.log(logging.WARNING if number <= _TOLD else logging.DEBUG, "%s", what)
