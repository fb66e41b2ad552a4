"""What a client does whose keys are turned away: it says so in one line, and tries again with a new connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

__all__ = ["Refusals"]

_log = logging.getLogger(__name__)

#: ZeroMQ does not connect again after its key was refused; we do after so long, in seconds.
_RETRY_S = 2.0
#: How often connections are looked at, in seconds: to look costs as much as to receive a message.
_LOOK_S = 0.05
#: A connection that breaks off at once is told of after so many in a row: a publisher that ends does it too.
_BROKEN_IN_A_ROW = 3
_EVENTS = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
)


@dataclass(slots=True)
class _Watched:
    """A socket, where it is connected, and what was seen of it."""

    socket: zmq.Socket[Any]
    monitor: zmq.Socket[bytes]
    address: str = ""
    broken: int = 0
    retry_at_s: float | None = None


class Refusals:
    """Looks after the connections of a client's sockets, in the thread that has them.

    Args:
        context: the sockets' context, of whatever kind.
        clock: seconds of a clock that only goes forward.
    """

    def __init__(self, context: zmq.Context[Any], clock: Callable[[], float] = time.monotonic) -> None:
        # A plain one: what is heard is looked for, and never waited for.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.shadow(context.underlying)
        self._clock = clock
        self._watched: list[_Watched] = []
        self._is_told = False
        self._looked_s = float("-inf")

    def __repr__(self) -> str:
        return f"<Refusals at {[one.address for one in self._watched]}, told: {self._is_told}>"

    def watch(self, socket: zmq.Socket[Any]) -> None:
        """Look after a socket, before it connects for the first time."""
        report = f"inproc://posestream-refusals/{id(self)}/{len(self._watched)}"
        socket.monitor(report, int(_EVENTS))
        monitor = self._context.socket(zmq.PAIR)
        monitor.linger = 0
        monitor.connect(report)
        self._watched.append(_Watched(socket, monitor))

    def connect(self, socket: zmq.Socket[Any], address: str) -> None:
        """Connect a socket that is looked after, here and not where it was before.

        Raises:
            zmq.ZMQError: the address is none.
        """
        one = next(one for one in self._watched if one.socket is socket)
        if one.address:
            one.socket.disconnect(one.address)
        one.socket.connect(address)
        one.address, one.retry_at_s = address, None

    def look(self) -> None:
        """See what became of the connections, and make those anew that were refused a while ago."""
        now_s = self._clock()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        for one in self._watched:
            while one.monitor.poll(0):
                self._note(one, parse_monitor_message(one.monitor.recv_multipart(zmq.NOBLOCK))["event"])
            if one.retry_at_s is not None and self._clock() >= one.retry_at_s:
                self.connect(one.socket, one.address)

    def close(self) -> None:
        """Let go of what hears of the sockets; called after these were closed."""
        for one in self._watched:
            one.monitor.close()

    def _note(self, one: _Watched, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            one.broken, self._is_told = 0, False
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            one.retry_at_s = self._clock() + _RETRY_S
            self._tell(f"{one.address} does not allow this client's key; trying again until it does")
        else:
            one.broken += 1
            if one.broken >= _BROKEN_IN_A_ROW:
                self._tell(f"{one.address} and this client do not agree on keys (--key, --server-key); trying again")

    def _tell(self, what: str) -> None:
        """Say it once, until a connection succeeds."""
        _log.log(logging.DEBUG if self._is_told else logging.WARNING, "%s", what)
        self._is_told = True
