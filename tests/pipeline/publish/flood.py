"""A program: a stranger who speaks just enough of ZeroMQ to flood a socket, again and again, until its time is over."""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from contextlib import ExitStack, suppress

#: What each side says first (ZMTP 3.0, without security).
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
#: How long it waits for room, and before it comes again, in seconds.
_PATIENCE_S, _PAUSE_S = 0.5, 0.01
_AT_ONCE = 2000
#: Connections of a crowd, and what each sends, in bytes.
_CROWD, _CROWD_BYTES = 400, 28 << 10


def ready(kind: bytes) -> bytes:
    """Give the command that says what kind of socket this is."""
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    return bytes([4, len(body)]) + body


def be_let_in(stranger: socket.socket, kind: bytes) -> None:
    """Say who this is, and wait until the other side has done so too: it takes nothing before."""
    stranger.sendall(_GREETING + ready(kind))
    with stranger.makefile("rb") as answer:
        answer.read(len(_GREETING))
        _, size = answer.read(2)
        answer.read(size)


def subscriptions() -> bytes:
    """Give subscriptions of which no two are the same."""
    return b"".join(b"\x00\x15\x01" + os.urandom(20) for _ in range(_AT_ONCE))


def parts() -> bytes:
    """Give parts of a message that never ends."""
    return b"\x01\x01a" * _AT_ONCE


def crowd(host: str, port: int, until_s: float) -> None:
    """Come with many connections, each with a message without an end that is just so long as one alone may send."""
    with ExitStack() as stack:
        strangers = []
        for _ in range(_CROWD):
            stranger = stack.enter_context(socket.create_connection((host, port), _PATIENCE_S))
            be_let_in(stranger, b"DEALER")
            strangers.append(stranger)
        for stranger in strangers:
            with suppress(OSError):  # it was cut off by then
                stranger.sendall(b"\x01\x00" * (_CROWD_BYTES // 2))
        time.sleep(max(0.0, until_s - time.monotonic()))


def main() -> None:
    """Flood an address with subscriptions or parts, or crowd it, for some seconds."""
    address, what, seconds = sys.argv[1:]
    host, port = address.removeprefix("tcp://").split(":")
    until_s = time.monotonic() + float(seconds)
    if what == "crowd":
        crowd(host, int(port), until_s)
        return
    while time.monotonic() < until_s:
        try:
            with socket.create_connection((host, int(port)), _PATIENCE_S) as stranger:
                be_let_in(stranger, b"DEALER" if what == "requests" else b"SUB")
                while time.monotonic() < until_s:
                    stranger.sendall(subscriptions() if what == "subscriptions" else parts())
        except (OSError, ValueError):  # turned away, or cut off
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
