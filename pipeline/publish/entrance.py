"""What stands between strangers and the sockets of one context: the gate, which asks for keys, and the doorman."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import zmq

from posestream.pipeline.publish.doorman import Doorman
from posestream.pipeline.publish.guest import Allowance
from posestream.pipeline.security.allowed import allowed_of
from posestream.pipeline.security.gate import Gate
from posestream.pipeline.security.guard import ListenGuard
from posestream.pipeline.wire.sockets import ZmqContext, ZmqSocket

__all__ = ["Entrance", "NoEntrance", "open_entrance"]

#: What the gate is told of sockets without keys.
_DOMAIN = b"strangers"


class NoEntrance:
    """Stands for it where only this host's own processes come."""

    refused = cut = 0

    def watch(self, socket: ZmqSocket, allowance: Allowance) -> None:
        """Nobody comes."""

    def note_read(self, part: zmq.Frame, size: int) -> None:
        """Nobody has sent it."""

    def close(self) -> None:
        """Nothing is to be closed."""


class Entrance:
    """Both of them, open before a socket listens and closed before the context ends.

    Args:
        context: of the sockets.
        guard: what guards them.
        clients: where the public keys of those lie who may connect; None: whoever knows the head's.

    Raises:
        SettingsError: the list of clients cannot be read.
    """

    def __init__(self, context: ZmqContext, guard: ListenGuard, clients: Path | None) -> None:
        self._has_keys = guard.keys is not None
        allowed = allowed_of(clients) if self._has_keys else None
        self._doorman = Doorman(context, has_keys=self._has_keys)
        try:
            self._gate = Gate(context, allowed, self._doorman.is_welcome)
        except BaseException:
            self._doorman.close()
            raise

    def __repr__(self) -> str:
        return f"<Entrance with {self._gate!r} and {self._doorman!r}>"

    @property
    def refused(self) -> int:
        """How many connections were turned away."""
        return self._gate.refused + self._doorman.refused

    @property
    def cut(self) -> int:
        """How many connections were cut off."""
        return self._doorman.cut

    def watch(self, socket: ZmqSocket, allowance: Allowance) -> None:
        """Look after a socket's connections, before it listens; called by the thread that owns it."""
        self._doorman.watch(socket, allowance)
        if not self._has_keys:
            # With a domain the gate is asked about clients without keys too; with keys it is asked anyway, and those
            # of this host's own processes, which need none, must not be refused for it.
            socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)

    def note_read(self, part: zmq.Frame, size: int) -> None:
        """Note that a message was read to its end, by one of its parts."""
        self._doorman.note_read(part, size)

    def close(self) -> None:
        """Let nobody in any more; closing again does nothing."""
        self._gate.close()
        self._doorman.close()


def open_entrance(
    context: ZmqContext, addresses: Iterable[str], guard: ListenGuard, clients: Path | None
) -> Entrance | NoEntrance:
    """Open the entrance of a context, where others than this host's own processes can come.

    Raises:
        SettingsError: the list of clients cannot be read.
    """
    if any(address.startswith("tcp://") for address in addresses):
        return Entrance(context, guard, clients)
    return NoEntrance()
