"""A connection of a stranger: what it has sent that may still be held in memory, and what it may have there."""

from __future__ import annotations

import os
import select
import socket as plain_socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

__all__ = ["Allowance", "Arrivals", "Guest", "NoArrivals", "host_of", "new_arrivals"]

#: The kernel's record of a connection, and where in it the bytes stand that have come (Linux, tcp(7)).
_TCP_INFO = getattr(plain_socket, "TCP_INFO", None)
_INFO_BYTES, _RECEIVED = 192, struct.Struct("=128xQ")
_TCP_FAMILIES = (plain_socket.AF_INET, plain_socket.AF_INET6)
#: What a message takes on the wire beside its bytes at most, encrypted or not.
_FRAMING_BYTES = 64
#: The part of an IPv6 address that a provider gives to one customer, in bits: what follows is as the customer likes.
_OWN_BITS = 64


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a connection may have sent and not to its end: bytes at once; so many a second are forgiven."""

    at_once: int
    per_s: int


class Guest:
    """A connection, by our own descriptor of it: it stays its own whatever ZeroMQ closes and the system gives away.

    Args:
        descriptor: the descriptor that ZeroMQ has.
        allowance: what it may have in memory.
        now_s: the time, on the monotonic clock.

    Raises:
        OSError: it has gone already, or does not come over TCP.
    """

    def __init__(self, descriptor: int, allowance: Allowance, now_s: float) -> None:
        self.connection = plain_socket.socket(fileno=os.dup(descriptor))
        try:
            if self.connection.family not in _TCP_FAMILIES:
                raise OSError("a process of this host")
            self.host = host_of(str(self.connection.getpeername()[0]))
        except OSError:
            self.connection.close()
            raise
        self._allowance = allowance
        self._looked_s = now_s
        self._sent = 0
        #: Bytes of messages that were read to their end, as the thread that reads them counts, and as was seen of it.
        self._read = self._read_seen = 0
        #: Bytes of it that may be in memory.
        self.held = 0.0

    def __repr__(self) -> str:
        return f"<Guest from {self.host} with {self.held:.0f} bytes>"

    @property
    def has_too_much(self) -> bool:
        """True if it has more in memory than it may."""
        return self.held > self._allowance.at_once

    def note_read(self, size: int) -> None:
        """Note that a message of it was read to its end; called by the one thread that reads."""
        self._read += size + _FRAMING_BYTES

    def look(self, now_s: float) -> None:
        """See what has come. What is forgiven is taken off what was there before: nothing is saved up.

        Raises:
            OSError: it has gone.
        """
        sent, read = self._received(), self._read
        forgiven = self._allowance.per_s * (now_s - self._looked_s) + read - self._read_seen
        self.held = max(0.0, self.held - forgiven) + sent - self._sent
        self._looked_s, self._sent, self._read_seen = now_s, sent, read

    def cut_off(self) -> None:
        """End it; ZeroMQ lets go of what it holds of it then."""
        with suppress(OSError):  # it has gone by itself
            self.connection.shutdown(plain_socket.SHUT_RDWR)

    def _received(self) -> int:
        if _TCP_INFO is None:
            return 0
        info = self.connection.getsockopt(plain_socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
        return int(_RECEIVED.unpack_from(info)[0]) if len(info) >= _RECEIVED.size else 0


class Arrivals:
    """Tells on which connections something has come, without a look at those that are silent (Linux, epoll(7))."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What becomes readable when something has come."""
        return (self._epoll.fileno(),)

    def add(self, guest: Guest) -> None:
        """Listen to one more."""
        # Room to write is always there, so that it is told whenever something has come, also if that was read by then.
        self._epoll.register(guest.connection, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def remove(self, guest: Guest) -> None:
        """Listen to one no more, before it is closed: ZeroMQ's descriptor would keep it here."""
        self._epoll.unregister(guest.connection)

    def take(self) -> list[int]:
        """Give the descriptors of those from which something has come."""
        return [descriptor for descriptor, _ in self._epoll.poll(0)]

    def close(self) -> None:
        """Listen no more."""
        self._epoll.close()


class NoArrivals:
    """Stands for it where the system does not tell."""

    descriptors: tuple[int, ...] = ()

    def add(self, guest: Guest) -> None:
        """Nothing is told of it."""

    def remove(self, guest: Guest) -> None:
        """Nothing was told of it."""

    def take(self) -> list[int]:
        """Nothing is told."""
        return []

    def close(self) -> None:
        """Nothing is to be closed."""


def new_arrivals() -> Arrivals | NoArrivals:
    """Give what this system has."""
    return NoArrivals() if _TCP_INFO is None else Arrivals()


def host_of(address: str) -> str:
    """Give what tells one host's addresses from another's: the whole of an IPv4 one, the first half of an IPv6 one."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{int(found) >> (128 - _OWN_BITS):x}"
