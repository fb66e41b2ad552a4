"""The two sockets that subscribers meet: one for live messages, one for requests; bounded, whoever connects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import zmq

from posestream.pipeline.publish.request import MAX_REQUEST_BYTES
from posestream.pipeline.security.guard import ListenGuard
from posestream.pipeline.wire.sockets import NOBLOCK, Sockets, ZmqSocket, send_parts
from posestream.stages.errors import SettingsError

__all__ = ["Outlets"]

#: Wishes of subscribers that are heard before somebody else has a turn.
_AT_ONCE = 64
#: What the kernel buffers for one subscriber, in bytes.
_KERNEL_BYTES = 256 << 10
#: What it buffers of what subscribers send, in bytes: they send little, and who floods is slowed down by it.
_HEARD_BYTES = 4 << 10
#: Answers that wait for one client: it asks for the next one when it has read the last.
_ANSWERS = 4
#: Who asks and is silent on the wire is asked after so long, and dropped after so long, in milliseconds.
_PING_MS, _DEAD_MS = 5_000, 30_000
#: A subscriber's host that is silent is probed by the kernel after so many seconds, then every so many, and given up
#: after so many probes.
_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES = 5, 5, 5


class Outlets:
    """Opens the sockets in the thread that uses them.

    Args:
        sockets: of that thread.
        queue: messages that wait for one subscriber at most; further ones are dropped for it alone.
        watch: called with each socket before it listens.
    """

    def __init__(self, sockets: Sockets, queue: int, watch: Iterable[Callable[[ZmqSocket], None]]) -> None:
        self._sockets = sockets
        self.live = sockets.open(zmq.XPUB)
        self.replay = sockets.open(zmq.ROUTER)
        # Every subscriber's wish is told, not only the first one's for a topic: a layout is due to each.
        self.live.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.live.sndhwm, self.replay.sndhwm = queue, _ANSWERS
        # Whoever asks has no name to keep. To hand one over from a connection with heartbeats ends the process: libzmq
        # 4.3.5 asserts in stream_engine_base.cpp when the old connection's timer comes.
        self.replay.setsockopt(zmq.ROUTER_HANDOVER, 0)
        for socket, watch_one in zip((self.live, self.replay), watch, strict=True):
            # From outside only wishes and requests come.
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
            socket.setsockopt(zmq.SNDBUF, _KERNEL_BYTES)
            socket.setsockopt(zmq.RCVBUF, _HEARD_BYTES)
            watch_one(socket)
        self.replay.setsockopt(zmq.HEARTBEAT_IVL, _PING_MS)
        self.replay.setsockopt(zmq.HEARTBEAT_TIMEOUT, _DEAD_MS)
        # No pings to subscribers: one that is slow, and whose connection is reset, would be ended by its answer to one
        # (see STRANGERS_MARK). The kernel finds those that are gone, also with data on the way to them.
        for option, value in (
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, _PROBE_AFTER_S),
            (zmq.TCP_KEEPALIVE_INTVL, _PROBE_EVERY_S),
            (zmq.TCP_KEEPALIVE_CNT, _PROBES),
            (zmq.TCP_MAXRT, _DEAD_MS),
        ):
            self.live.setsockopt(option, value)
        self._poller = zmq.Poller()
        self._poller.register(self.live, zmq.POLLIN)

    def bind(
        self, addresses: Sequence[str], replay_addresses: Sequence[str], guard: ListenGuard
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Listen, and give where: for live messages and for requests, ports that were left open filled in.

        Raises:
            SettingsError: an address is taken, or none of this machine's.
        """
        bound = tuple(self._sockets.bind(self.live, address, guard) for address in addresses)
        return bound, tuple(self._bind_replay(address, guard) for address in replay_addresses)

    def send(self, topic: bytes, body: bytes | zmq.Frame) -> None:
        """Send to whoever listens; a subscriber that does not keep up loses this one, and nobody waits for it."""
        # Lets ZeroMQ note what has been read by now: by itself it looks once in a millisecond, and takes a short queue
        # for full whose messages were read within it. Polled, since to ask for its EVENTS keeps Python's lock, and what
        # ZeroMQ does then, hearing all wishes that have come, takes as long as somebody floods it with them.
        self._poller.poll(0)
        send_parts(self.live, (topic, body), NOBLOCK)

    def answer(self, peer: bytes, parts: Sequence[bytes]) -> None:
        """Send an answer, unless its client has gone or does not read."""
        try:
            self.replay.send_multipart([peer, *parts], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise

    def hear_wishes(self) -> bool:
        """Hear some of what subscribers wish; True if one has joined to whom the layout is due."""
        is_due = False
        for _ in range(_AT_ONCE):
            try:
                wish = self.live.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            # Whoever wants layouts, or everything, has joined.
            is_due |= wish[:1] == b"\x01" and (wish[1:].startswith(b"layout/") or b"layout/".startswith(wish[1:]))
        return is_due

    def _bind_replay(self, address: str, guard: ListenGuard) -> str:
        try:
            return self._sockets.bind(self.replay, address, guard)
        except SettingsError as error:
            raise SettingsError(
                f"{error}; subscribers would ask there for what they missed (publish.replay)"
            ) from error
