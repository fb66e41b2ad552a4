"""ZeroMQ sockets as this pipeline uses them: bounded, closed in their thread, never waiting without a deadline."""

from __future__ import annotations

import socket as plain_socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zmq

from posestream.pipeline.errors import PipelineError
from posestream.pipeline.security.guard import OPEN, UNGUARDED, ConnectGuard, ListenGuard
from posestream.pipeline.wire.envelope import Envelope, Part, decode, encode
from posestream.pipeline.wire.messages import Message
from posestream.stages.errors import SettingsError

__all__ = [
    "NOBLOCK",
    "Addresses",
    "Sockets",
    "ZmqContext",
    "ZmqSocket",
    "has_more",
    "receive",
    "receive_from",
    "send",
    "send_parts",
    "send_to",
    "wait_for",
]

ZmqContext = zmq.Context[zmq.Socket[bytes]]
ZmqSocket = zmq.Socket[bytes]

#: Messages that a socket holds at most. Credits and frame stores bound what is in flight far below it, so that
#: reaching it is a bug and not a state to live in.
HIGH_WATER_MARK = 1000
#: The same for what comes over TCP: no bound (0). libzmq 4.3.5 stops reading from a connection whose queue is full, and
#: if that is then reset, its next ping or pong ends this process (`!_io_error` in stream_engine_base.cpp). Whoever can
#: connect could do that at will. The price: who floods such a socket for long, faster than it is read, or under a name
#: that somebody else has, takes memory without a bound.
STRANGERS_MARK = 0
#: Longest wait for room in a socket, in milliseconds.
SEND_TIMEOUT_MS = 10_000
#: The same for a PUSH. Its one reader is a thread of this process, with room for all that can be in flight, so that no
#: room means that the reader has ended on an error.
PUSH_TIMEOUT_MS = 500
#: Largest part that is taken from another process: a network input of 4096×4096 has 50 MB.
MAX_MESSAGE_BYTES = 64 << 20
#: How long a closed socket still delivers what it holds, in milliseconds.
LINGER_MS = 1000
#: Parts up to this size are copied into a message; larger ones travel by reference. To tell Python that a reference is
#: no longer needed wakes another thread, which costs more than to copy a network input: 66 µs a hop and not 39.
COPIED_BYTES = 1 << 20
#: Plain numbers, and parts go one by one: a hop of three takes 9 µs of CPU, and 21 with pyzmq's calls for many parts,
#: which join flags as enums.
NOBLOCK, _MORE, _POLLIN = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.POLLIN)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the dispatcher listens."""

    lanes: str
    replicas: str
    #: Further addresses for replicas, for workers that come from elsewhere.
    listen: tuple[str, ...] = ()

    @classmethod
    def inproc(cls, run: str, listen: tuple[str, ...] = ()) -> Addresses:
        """Give addresses for threads of one process."""
        return cls(f"inproc://{run}/lanes", f"inproc://{run}/replicas", listen)

    @classmethod
    def ipc(cls, folder: Path, listen: tuple[str, ...] = ()) -> Addresses:
        """Give addresses for processes of one host, in a folder that nobody else may enter."""
        return cls(f"ipc://{folder}/lanes", f"ipc://{folder}/replicas", listen)


class Sockets:
    """The sockets of one thread: made where they are used, closed when the thread's work ends."""

    def __init__(self, context: ZmqContext) -> None:
        self._context = context
        self._sockets: list[ZmqSocket] = []
        #: Files of the ipc addresses that were bound, each with its number: by then it may be somebody else's.
        self._files: dict[Path, int] = {}

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for socket in self._sockets:
            socket.close()
        for path, number in self._files.items():
            with suppress(OSError):
                if path.stat().st_ino == number:
                    path.unlink()

    def open(
        self,
        kind: int,
        *,
        bind: str = "",
        connect: str = "",
        identity: str = "",
        patience_ms: int = -1,
        guard: ConnectGuard = UNGUARDED,
    ) -> ZmqSocket:
        """Make a socket in the thread that will use it; `patience_ms` is how long `wait_for` waits on it."""
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        # Without lingering, closing a sender drops what the other side has not read yet, on inproc too.
        socket.linger = LINGER_MS
        socket.copy_threshold = COPIED_BYTES
        socket.sndhwm = socket.rcvhwm = HIGH_WATER_MARK
        socket.sndtimeo = PUSH_TIMEOUT_MS if kind == zmq.PUSH else SEND_TIMEOUT_MS
        socket.rcvtimeo = patience_ms
        if identity:
            socket.setsockopt(zmq.IDENTITY, identity.encode())
        if kind == zmq.ROUTER:
            # An error tells of a peer that has gone; without it its messages would vanish silently.
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            # A peer that comes back before its old connection was found dead takes its name over.
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        if bind:
            self.bind(socket, bind)
        if connect:
            guard.apply(socket, connect)
            socket.connect(connect)
        return socket

    def bind(self, socket: ZmqSocket, address: str, guard: ListenGuard = OPEN) -> str:
        """Let a socket listen on one more address, and give it with the port that was left open filled in.

        With keys, what comes over TCP is encrypted, and the context's gate is asked who may connect. A folder that is
        made for ipc, and the socket in it, are this user's alone; the socket's file goes when it is closed.

        Raises:
            SettingsError: the address is taken, or none of this machine's.
        """
        path = _ipc_path(address)
        if path is not None:
            _make_free(path)
        guard.apply(socket, address)
        # Set for each address anew: a socket may listen to this host's own processes too, where the bound holds.
        socket.rcvhwm = STRANGERS_MARK if address.startswith("tcp://") else HIGH_WATER_MARK
        try:
            socket.bind(address)
            if path is not None:
                path.chmod(0o600)
                self._files[path] = path.stat().st_ino
        except (zmq.ZMQError, OSError) as error:
            raise SettingsError(f"cannot listen on {address}: {zmq.strerror(error.errno or 0).lower()}") from error
        return str(socket.get_string(zmq.LAST_ENDPOINT)).rstrip("\0")


def _ipc_path(address: str) -> Path | None:
    """Give the file of an ipc address; None for other addresses and where ZeroMQ shall choose one.

    Raises:
        SettingsError: it is one of Linux's abstract names, which every user of the machine may connect to.
    """
    scheme, _, name = address.partition("://")
    if scheme != "ipc" or name == "*":
        return None
    if name.startswith("@"):
        raise SettingsError(f"cannot listen on {address}: every user could connect; give the path of a file")
    return Path(name)


def _make_free(path: Path) -> None:
    """Make the folder of an ipc socket, where missing, and see that ZeroMQ has nothing to delete but a dead socket.

    Raises:
        SettingsError: the path is something else, or somebody listens there.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"cannot listen on ipc://{path}: {str(error.strerror).lower()}") from error
    if not path.exists():
        return
    if not path.is_socket():
        raise SettingsError(f"cannot listen on ipc://{path}: there is a file of that name")
    with plain_socket.socket(plain_socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(str(path)) == 0:
            raise SettingsError(f"cannot listen on ipc://{path}: address already in use")


def send(socket: ZmqSocket, message: Message, payloads: Sequence[Part] = ()) -> None:
    """Send an envelope; large payloads travel by reference where the transport can.

    Raises:
        PipelineError: the other side did not make room in time.
    """
    try:
        send_parts(socket, encode(message, payloads))
    except zmq.Again as error:
        raise PipelineError("no room in a socket for too long: its reader has stopped") from error


def send_to(socket: ZmqSocket, peer: str, message: Message, payloads: Sequence[Part] = ()) -> bool:
    """Send an envelope to one peer of a ROUTER, without waiting: one that does not read must not stop all others.

    False if that peer is not there (any more), or has left no room.
    """
    try:
        send_parts(socket, [peer.encode(), *encode(message, payloads)], NOBLOCK)
    except zmq.ZMQError as error:
        if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
            return False
        raise
    return True


def send_parts(socket: ZmqSocket, parts: Sequence[Part], flags: int = 0) -> None:
    """Send a message of bare parts, which costs less than pyzmq's own way.

    Raises:
        zmq.ZMQError: it cannot be sent; nothing of it was.
    """
    *before, last = parts
    for part in before:
        socket.send(part, flags | _MORE, copy=False)
    socket.send(last, flags, copy=False)


def has_more(socket: ZmqSocket) -> bool:
    """Tell whether an envelope is there: a third of what it costs to try to receive one that is not."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & _POLLIN)


def receive(socket: ZmqSocket) -> Envelope:
    """Receive an envelope that is already there.

    Raises:
        DecodeError: it is not one of ours.
    """
    return decode(_receive_parts(socket))


def wait_for(socket: ZmqSocket) -> Envelope | None:
    """Receive an envelope, waiting as long as the socket's patience; None if none came.

    For a thread that has this one socket only: to poll first and then to receive takes half as long again.

    Raises:
        DecodeError: it is not one of ours.
    """
    try:
        return decode(_receive_parts(socket, 0))
    except zmq.Again:
        return None


def receive_from(socket: ZmqSocket) -> tuple[str, Envelope]:
    """Receive an envelope that is already there from a ROUTER, and who sent it.

    Raises:
        DecodeError: it is not one of ours.
    """
    peer, *parts = _receive_parts(socket)
    return peer.bytes.decode(errors="replace"), decode(parts)


def _receive_parts(socket: ZmqSocket, flags: int = NOBLOCK) -> list[zmq.Frame]:
    parts = [socket.recv(flags, copy=False)]
    while parts[-1].more:
        parts.append(socket.recv(NOBLOCK, copy=False))
    return parts
