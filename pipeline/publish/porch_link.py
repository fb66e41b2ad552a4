"""The head's end of its porch: live messages and answers go out to it, requests come in, all through one socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgpack
import zmq

from posestream.pipeline.attention import Attention
from posestream.pipeline.wire.sockets import NOBLOCK, Sockets, ZmqSocket, has_more, send_parts

__all__ = ["NoPorchLink", "PorchKind", "PorchLink", "PorchPlan"]

#: Requests that are answered before somebody else has a turn.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class PorchPlan:
    """What a porch is told: where the head is, where it shall listen, and how it is guarded."""

    channel: str
    addresses: tuple[str, ...]
    replay_addresses: tuple[str, ...]
    #: Messages that wait for one subscriber, or for the porch itself.
    queue: int
    #: The head's secret key and the list of clients, as paths; empty where there are none.
    key: str
    clients: str


class PorchKind:
    """The first part of each message between a head and its porch; what is published begins with its topic instead."""

    #: From the head: who asked and the parts of an answer; nothing more comes.
    ANSWER, END = b"answer", b"end"
    #: From the porch: where it listens; why it cannot; who asks and for what; what it has counted.
    HELLO, FAILED, ASK, TOLD = b"hello", b"failed", b"ask", b"told"


class NoPorchLink:
    """Stands for it where nothing is published over TCP."""

    sockets: Sequence[ZmqSocket] = ()
    addresses: tuple[str, ...] = ()
    replay_addresses: tuple[str, ...] = ()
    told: Mapping[str, int] = MappingProxyType({})

    def open(self, sockets: Sockets) -> None:
        """Nothing is to be opened."""

    def hear(self, answer: Callable[[bytes, Sequence[bytes]], list[bytes]]) -> bool:  # noqa: ARG002 - nobody asks
        """Nobody speaks."""
        return False

    def send(self, topic: bytes, body: bytes) -> None:
        """Nobody listens."""

    def end(self) -> None:
        """Nobody waits for it."""


class PorchLink:
    """Speaks to the present porch; one that does not read costs a bounded queue and nobody's time.

    The publisher's thread has the socket; the plain attributes are for the head's main thread.
    """

    def __init__(self, channel: str, queue: int) -> None:
        self._channel = channel
        self._queue = queue
        self._peer = b""
        self.sockets: Sequence[ZmqSocket] = ()
        #: Where the porch listens.
        self.addresses: tuple[str, ...] = ()
        self.replay_addresses: tuple[str, ...] = ()
        #: Set once it listens, or has told why it cannot.
        self.is_settled = threading.Event()
        self.failure = ""
        #: True from the first word of the present porch on.
        self.is_there = False
        self._attention = Attention()
        #: When it was heard last, or started, on that clock.
        self._heard_s = 0.0
        #: What the present porch has counted, and what those before it had.
        self._told: dict[str, int] = {}
        self._told_before: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<PorchLink to {', '.join(self.addresses) or 'nobody yet'}>"

    @property
    def told(self) -> Mapping[str, int]:
        """What all porches of this run have counted."""
        return _sum(self._told_before, self._told)

    @property
    def silent_s(self) -> float:
        """How long it was listened to the present porch without a word, in seconds."""
        return self._attention.seconds - self._heard_s

    def expect(self) -> None:
        """Note that another porch was started."""
        self.is_there, self._heard_s = False, self._attention.seconds

    def open(self, sockets: Sockets) -> None:
        """Listen in the run's own folder."""
        socket = sockets.open(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
        socket.sndhwm = self._queue
        sockets.bind(socket, self._channel)
        self.sockets = (socket,)

    def hear(self, answer: Callable[[bytes, Sequence[bytes]], list[bytes]]) -> bool:
        """Take some of what the porch says, if anything, and answer requests; True if it is there anew."""
        is_new = False
        for _ in range(_AT_ONCE):
            if not has_more(self.sockets[0]):
                break
            peer, kind, *parts = self.sockets[0].recv_multipart(zmq.NOBLOCK)
            self._heard_s = self._attention.seconds
            if kind == PorchKind.ASK:
                asker, client, *request = parts
                self._send(peer, [PorchKind.ANSWER, asker], answer(client, request))
            elif kind == PorchKind.TOLD:
                self._told = msgpack.unpackb(parts[0])
            elif kind == PorchKind.HELLO:
                is_new = True
                self._greet(peer, msgpack.unpackb(parts[0]))
            else:
                self.is_there, self.failure = True, parts[0].decode()
                self.is_settled.set()
        self._attention.look(time.monotonic())
        return is_new

    def send(self, topic: bytes, body: bytes) -> None:
        """Pass a live message on; it is lost for a porch that has gone, or does not keep up."""
        if self._peer:
            self._send(self._peer, [topic], [body])

    def end(self) -> None:
        """Say that nothing more comes."""
        if self._peer:
            self._send(self._peer, [], [PorchKind.END])

    def _greet(self, peer: bytes, told: Mapping[str, Any]) -> None:
        self._peer, self.is_there = peer, True
        self._told_before, self._told = _sum(self._told_before, self._told), {}
        self.addresses, self.replay_addresses = tuple(told["addresses"]), tuple(told["replay_addresses"])
        self.failure = ""
        self.is_settled.set()

    def _send(self, peer: bytes, head: Sequence[bytes], parts: Sequence[bytes]) -> None:
        if not parts:
            return
        try:
            send_parts(self.sockets[0], [peer, *head, *parts], NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {key: first.get(key, 0) + second.get(key, 0) for key in {*first, *second}}
