"""The two sockets at which replicas are heard: this head's own at one, whoever comes from elsewhere at the other."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from posestream.pipeline.security.gate import Gate, NoGate
from posestream.pipeline.security.guard import ListenGuard
from posestream.pipeline.wire.envelope import Part
from posestream.pipeline.wire.identities import is_own_replica
from posestream.pipeline.wire.messages import Message
from posestream.pipeline.wire.sockets import Addresses, Sockets, ZmqSocket, send_to

__all__ = ["ReplicaPorts"]


class ReplicaPorts:
    """Speaks to replicas by name, and knows who may have which.

    Own replicas are reached at a socket of their own: a name that somebody takes at the other one cuts nobody off here.

    Args:
        sockets: of the dispatcher's thread.
        addresses: where they listen.
        guard, gate: what guards the addresses that workers come to.

    Raises:
        SettingsError: an address is taken, or none of this machine's.
    """

    def __init__(self, sockets: Sockets, addresses: Addresses, guard: ListenGuard, gate: Gate | NoGate) -> None:
        self._own = sockets.open(zmq.ROUTER, bind=addresses.replicas)
        self._workers = sockets.open(zmq.ROUTER)
        gate.watch(self._workers)
        for address in addresses.listen:
            sockets.bind(self._workers, address, guard)

    def __repr__(self) -> str:
        return "<ReplicaPorts>"

    @property
    def sockets(self) -> tuple[ZmqSocket, ZmqSocket]:
        """Both of them, to be listened to."""
        return self._own, self._workers

    def may_be(self, socket: ZmqSocket, name: str) -> bool:
        """Tell whether who speaks at a socket may have a name: those of own replicas are believed at theirs only."""
        return socket is self._own or not is_own_replica(name)

    def send(self, name: str, message: Message, payloads: Sequence[Part] = ()) -> bool:
        """Send to a replica, without waiting; False if it is not there, or has left no room."""
        if is_own_replica(name):
            return send_to(self._own, name, message, payloads)
        return send_to(self._workers, name, message, payloads) or send_to(self._own, name, message, payloads)
