"""The port of this host at which a connection listens: whether it is taken, whether anything comes, and its return."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

__all__ = ["NoPort", "Port", "UdpPort"]

#: What this process has open, one entry each, where the system tells it.
_OPEN_FILES = Path("/dev/fd")
#: How long a sender is listened for, in milliseconds: many times the distance of two packets of video.
_LISTEN_MS = 50


class Port(Protocol):
    """What a connection holds of this host, so that the next one cannot begin before it has let go."""

    @property
    def is_held(self) -> bool:
        """True where connections hold a port at all."""

    @property
    def is_taken(self) -> bool:
        """True while a connection of this process has it."""

    def hears(self) -> bool:
        """True if something comes there now, whoever reads it."""

    def take_back(self) -> None:
        """Take it from a connection that nobody wants any more, and which then hears nothing."""


class NoPort:
    """Stands for the port where connections hold none."""

    is_held = is_taken = False

    def hears(self) -> bool:
        """Nobody can tell."""
        return False

    def take_back(self) -> None:
        """Nothing is held."""


class UdpPort:
    """The port of a `udp://` or `rtp://` address.

    FFmpeg reads from it without an end as long as anything comes, also where nothing of that belongs to a stream that
    it told of, and lets nobody interrupt it. So its socket is put aside: another one, to which nobody sends, takes the
    socket's number, and the port is free. FFmpeg's own limit on silence then ends the reader.

    Where the system does not tell what is open (no `/dev/fd`) a port counts as taken until its reader has ended.
    """

    is_held = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        local = parse_qs(parts.query).get("localport", [""])[0]
        self._port = int(local) if local.isdecimal() else parts.port
        self._host = parts.hostname or ""

    def __repr__(self) -> str:
        return f"<UdpPort {self._port} taken={self.is_taken}>"

    @property
    def is_taken(self) -> bool:
        """True while a connection of this process has it."""
        return not _OPEN_FILES.is_dir() or any(True for _ in self._sockets())

    def hears(self) -> bool:
        """True if something comes there now, whoever reads it."""
        for _, copy in self._sockets():
            look = select.poll()
            look.register(copy, select.POLLIN)
            if look.poll(_LISTEN_MS):
                return True
        return False

    def take_back(self) -> None:
        """Take it from a connection that nobody wants any more, and which then hears nothing."""
        for number, copy in self._sockets():
            with socket.socket(copy.family, socket.SOCK_DGRAM) as silent:
                # Bound to any port but this one, and joined to itself, so that it takes nothing of others.
                silent.bind(("::1" if copy.family == socket.AF_INET6 else "127.0.0.1", 0))
                silent.connect(silent.getsockname())
                os.dup2(silent.fileno(), number, inheritable=False)

    def _sockets(self) -> Iterator[tuple[int, socket.socket]]:
        """Give each socket of this process that listens there: its number, and a copy to look at until the next one."""
        names = os.listdir(_OPEN_FILES) if _OPEN_FILES.is_dir() else []  # noqa: PTH208 - numbers, not paths
        for number in map(int, names):
            # What was closed meanwhile raises, and what is no socket.
            with contextlib.suppress(OSError), _copy_of(number) as copy:
                if copy.type == socket.SOCK_DGRAM and copy.family in (socket.AF_INET, socket.AF_INET6):
                    host, port, *_ = copy.getsockname()
                    # Groups that share a port are told apart by their addresses, to which FFmpeg binds.
                    if port == self._port and not (_is_group(host) and host != self._host):
                        yield number, copy


def _copy_of(number: int) -> socket.socket:
    """Give a socket that is open under this number once more.

    Raises:
        OSError: there is none.
    """
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _is_group(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_multicast
