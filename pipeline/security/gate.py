"""The gate of a process's sockets: answers ZeroMQ's questions about clients (ZAP), and counts who was turned away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from posestream.pipeline.security.allowed import Allowed, allowed_of
from posestream.pipeline.security.guard import ListenGuard
from posestream.pipeline.security.refusal import REFUSAL_EVENTS, RefusalCount

__all__ = ["Gate", "NoGate", "open_gate"]

_log = logging.getLogger(__name__)

#: Where ZeroMQ asks, within a context (RFC 27).
_ADDRESS = "inproc://zeromq.zap.01"
#: Longest wait for a question, in milliseconds: how late a stop is noticed.
_POLL_MS = 100


class NoGate:
    """Stands for the gate where nothing is guarded."""

    refused = 0

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Nobody is turned away."""

    def close(self) -> None:
        """Nothing is to be closed."""


class Gate:
    """Lets those in that are allowed, in a thread of its own, for all guarded sockets of one context.

    Open it before a guarded socket listens and close it before the context ends: ZeroMQ lets everybody in while nobody
    answers. `watch` is called by the thread that owns the socket, before it binds.

    Args:
        context: of the sockets.
        allowed: whose keys are let in; None: nobody has any, and whoever is welcome comes in.
        is_welcome: tells of a host, by its IP address, whether it may come at all just now; who is not may try again.

    Raises:
        RuntimeError: this context has a gate already.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        allowed: Allowed | None,
        is_welcome: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._context = context
        self._allowed = allowed
        self._is_welcome = is_welcome
        self._refusals = RefusalCount(_log, has_keys=True)
        self._lock = threading.Lock()
        #: Where watched sockets report, and the sockets of the gate's thread that hear them.
        self._reports: list[str] = []
        self._monitors: dict[str, zmq.Socket[bytes]] = {}
        self._stopping = threading.Event()
        self._questions = context.socket(zmq.REP)
        self._questions.linger = 0
        try:
            # Bound here, so that it is there when this returns; from then on only the thread uses it.
            self._questions.bind(_ADDRESS)
        except zmq.ZMQError as error:
            self._questions.close()
            raise RuntimeError("a context has one gate") from error
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Gate for {self._allowed!r}, {self.refused} turned away>"

    @property
    def refused(self) -> int:
        """How many connections were turned away."""
        return self._refusals.refused

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Count those too whom a socket turns away before it asks."""
        report = f"inproc://posestream-gate/{id(self)}/{len(self._reports)}"
        socket.monitor(report, REFUSAL_EVENTS)
        with self._lock:
            self._reports.append(report)

    def close(self) -> None:
        """Let nobody in any more; closing again does nothing."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                for socket in self._ready():
                    if socket is self._questions:
                        self._answer()
                    else:
                        self._note(socket)
        finally:
            for socket in (self._questions, *self._monitors.values()):
                socket.close(0)

    def _ready(self) -> Sequence[zmq.Socket[bytes]]:
        """Wait a while and give the sockets on which there is something."""
        with self._lock:
            new = self._reports[len(self._monitors) :]
        for report in new:
            monitor = self._context.socket(zmq.PAIR)
            monitor.linger = 0
            monitor.connect(report)
            self._monitors[report] = monitor
        poller = zmq.Poller()
        for socket in (self._questions, *self._monitors.values()):
            poller.register(socket, zmq.POLLIN)
        return [socket for socket, _ in poller.poll(_POLL_MS)]

    def _answer(self) -> None:
        """Answer one question: version, request, domain, address, identity, mechanism, and the client's key."""
        parts = self._questions.recv_multipart()
        version, request, _, address, _, mechanism = parts[:6] if len(parts) >= 6 else (b"1.0", b"", b"", b"", b"", b"")
        key = z85.encode(parts[6]) if len(parts) == 7 and len(parts[6]) == 32 else b""
        if not self._is_welcome(address.decode(errors="replace")):
            # A temporary failure (RFC 27): the connection is closed without a word, and the client tries again.
            reply = (b"300", b"not now", b"")
        elif self._allowed is None:
            reply = (b"200", b"OK", b"")
        elif mechanism == b"CURVE" and self._allowed.allows(key):
            # The key is the user's id, by which what one client may ask for is limited.
            reply = (b"200", b"OK", key)
        else:
            self._refusals.count(
                f"turned away: a client whose key is not allowed, at {address.decode(errors='replace')}"
            )
            reply = (b"400", b"not allowed", b"")
        self._questions.send_multipart([version, request, *reply, b""])

    def _note(self, monitor: zmq.Socket[bytes]) -> None:
        event = parse_monitor_message(monitor.recv_multipart())
        if event["event"] & REFUSAL_EVENTS:
            self._refusals.note(event)


def open_gate(context: zmq.Context[zmq.Socket[bytes]], guard: ListenGuard, clients: Path | None) -> Gate | NoGate:
    """Open the gate of a context whose sockets are guarded like this.

    Args:
        context: of the sockets.
        guard: what guards them; without keys there is no gate.
        clients: where the public keys of those lie who may connect; None: whoever knows the head's.

    Raises:
        SettingsError: the list of clients cannot be read.
    """
    return NoGate() if guard.keys is None else Gate(context, allowed_of(clients))
