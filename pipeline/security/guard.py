"""How sockets are guarded: what a socket that binds or connects is told before it does so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import zmq

from posestream.pipeline.security.hosts import host_of, ip_of, ipv6_error, is_ipv6
from posestream.pipeline.security.keys import KeyPair, read_pair, read_public
from posestream.stages.errors import SettingsError

__all__ = ["OPEN", "UNGUARDED", "ConnectGuard", "ListenGuard", "is_exposed", "refuse_exposed"]


@dataclass(frozen=True, slots=True)
class ListenGuard:
    """What guards the TCP sockets of a head: its keys, with which every byte is encrypted (CURVE); None: nothing.

    Who may connect is the gate's business (`gate.py`), which must be open before a guarded socket listens.
    """

    keys: KeyPair | None = None

    @classmethod
    def of(cls, key: Path | None) -> ListenGuard:
        """Read the head's secret key, where one is given.

        Raises:
            SettingsError: it cannot be read.
        """
        return cls(None if key is None else read_pair(key))

    def apply(self, socket: zmq.Socket[bytes], address: str) -> None:
        """Tell a socket how the next address that it binds is guarded; what it has bound already stays as it is.

        Raises:
            SettingsError: the address is meant to be one of IPv6, and is none.
        """
        _choose_family(socket, address)
        # ipc and inproc have the file system and the process as their guards.
        is_guarded = self.keys is not None and address.startswith("tcp://")
        # Set back too: the same socket may listen to its own host in the clear. Without a domain (ZAP_DOMAIN) the gate
        # is asked about guarded clients only.
        socket.curve_server = is_guarded
        if is_guarded and self.keys is not None:
            socket.curve_secretkey, socket.curve_publickey = self.keys.secret, self.keys.public


@dataclass(frozen=True, slots=True)
class ConnectGuard:
    """What a client tells a guarded head: its own keys, and the public key that the head must have; None: nothing."""

    keys: KeyPair | None = None
    server: bytes = b""

    @classmethod
    def of(cls, key: Path | None, server_key: Path | None) -> ConnectGuard:
        """Read a client's keys, where they are given.

        Raises:
            SettingsError: a file cannot be read, or one is given without the other.
        """
        if key is None and server_key is None:
            return cls()
        if key is None or server_key is None:
            raise SettingsError("a guarded connection needs both keys: your own secret one and the head's public one")
        return cls(read_pair(key), read_public(server_key))

    def apply(self, socket: zmq.Socket[bytes] | zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        """Tell a socket, or all that a context will make, how the next address that it connects to is guarded.

        Raises:
            SettingsError: the address is meant to be one of IPv6, and is none.
        """
        _choose_family(socket, address)
        if self.keys is not None and address.startswith("tcp://"):
            socket.curve_serverkey = self.server
            socket.curve_secretkey, socket.curve_publickey = self.keys.secret, self.keys.public


#: For sockets that bind or connect without keys.
OPEN, UNGUARDED = ListenGuard(), ConnectGuard()


def is_exposed(address: str) -> bool:
    """True if other hosts can reach an address."""
    if not address.startswith("tcp://"):
        return False
    host = host_of(address)
    found = ip_of(host)
    return host != "localhost" if found is None else not found.is_loopback


def _choose_family(socket: zmq.Socket[bytes] | zmq.Context[zmq.Socket[bytes]], address: str) -> None:
    if address.startswith("tcp://") and (error := ipv6_error(host_of(address))) is not None:
        raise SettingsError(f"{address}: {error}")
    socket.setsockopt(zmq.IPV6, int(is_ipv6(address)))


def refuse_exposed(addresses: Iterable[str], *, has_keys: bool, is_insecure: bool) -> list[str]:
    """Refuse addresses that others can reach while nothing authenticates them; give those that are so on purpose.

    Raises:
        SettingsError: there is one, and nobody has said that this is wanted.
    """
    exposed = [] if has_keys else [address for address in addresses if is_exposed(address)]
    if exposed and not is_insecure:
        raise SettingsError(
            f"{exposed[0]} can be reached from other hosts, and nothing authenticates them: give --key (`keys new` "
            "makes one), or say --insecure"
        )
    return exposed
