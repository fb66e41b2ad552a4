"""Sends what is no message of ours to a socket that listens: random, cut, changed, nested and huge ones; resets too."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable

import msgpack
import zmq

from posestream.pipeline.wire.envelope import encode
from posestream.pipeline.wire.messages import (
    Heartbeat,
    LaneEnd,
    LaneHello,
    Message,
    Posed,
    ReplicaHello,
    Result,
    Task,
    Work,
)

__all__ = ["fuzz", "fuzz_raw", "fuzz_resets"]

#: Each sender goes after so many messages, so that many come and go.
_PER_SENDER = 250
#: Every so many messages there is one of 8 MB; and one of 80 MB, more than is taken, by each sender's last.
_HUGE_EVERY = 100
_HUGE_BYTES, _TOO_HUGE_BYTES = 8 << 20, 80 << 20
#: Longest wait for room, in milliseconds; the receiver has fallen over if it takes that long.
_PATIENCE_MS = 20_000

#: ZMTP 3.1 without security: the greeting, and a ping whose answer the receiver must write at once.
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\x00" + bytes(31)
_PING = b"\x04\x07\x04PING\x00\x00"
#: Messages of a connection that is reset: more than a socket's queue has room for, and than one read takes.
_PER_RESET = 6000
#: How long a reset is put off at most, so that the receiver has stopped reading by then, or has not, in seconds.
_RESET_AFTER_S = 0.1

_TASK = Task("fuzz", 3, 1.5, 16, 24, 0.5, 0.5, 48, 32)
#: Proper messages that are cut and changed.
_VALID: tuple[Message, ...] = (
    _TASK,
    LaneHello("fuzz", False, False, None, 0),
    LaneEnd("fuzz"),
    ReplicaHello("fuzz", "head", "an engine", 4, 2),
    Heartbeat("fuzz", "head", False, 4, 2),
    Result("fuzz", "head", Posed("fuzz", 3, 1, 18, False, 0.01, 0.001)),
    Work((_TASK, _TASK)),
)


def fuzz(address: str, messages: int, seed: int, *, is_huge_wanted: bool = True) -> int:
    """Send so many to an address, each in a way of its own; give how many were sent.

    Raises:
        RuntimeError: the receiver takes no more.
    """
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sent = 0
    while sent < messages:
        sender = context.socket(zmq.DEALER)
        sender.linger, sender.sndtimeo = 1000, _PATIENCE_MS
        sender.setsockopt(zmq.IDENTITY, rng.randbytes(rng.randint(1, 20)).replace(b"\0", b"x"))
        sender.connect(address)
        try:
            for _ in range(min(_PER_SENDER, messages - sent)):
                is_huge = is_huge_wanted and sent % _HUGE_EVERY == 0
                sender.send_multipart([rng.randbytes(16) * (_HUGE_BYTES // 16)] if is_huge else _parts(rng))
                sent += 1
            if is_huge_wanted:
                sender.send_multipart([bytes(_TOO_HUGE_BYTES)])
                sent += 1
        except zmq.Again as error:
            raise RuntimeError(f"{address} took no message for {_PATIENCE_MS / 1000:g} s, after {sent}") from error
        finally:
            sender.close()
    context.destroy(linger=2000)
    return sent


def fuzz_raw(address: str, connections: int, seed: int) -> int:
    """Connect so often and send bytes that are not even ZeroMQ's; give how many connections were made."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    scheme, _, rest = address.partition("://")
    for _ in range(connections):
        if scheme == "ipc":
            client, target = socket.socket(socket.AF_UNIX), rest
        else:
            host, _, port = rest.rpartition(":")
            client, target = socket.socket(socket.AF_INET), (host, int(port))  # type: ignore[assignment]
        with client:
            client.settimeout(_PATIENCE_MS / 1000)
            client.connect(target)
            # A proper greeting sometimes, so that what follows gets further.
            greeting = b"\xff" + bytes(8) + b"\x7f\x03" if rng.random() < 0.5 else b""
            try:
                client.sendall(greeting + rng.randbytes(rng.randint(0, 5000)))
            except OSError:
                continue  # it has hung up, as it should
            time.sleep(rng.random() / 500)
    return connections


def fuzz_resets(address: str, connections: int, seed: int, *, kind: str = "DEALER") -> int:
    """Reset connections (`tcp://`) in the midst of floods with pings; give how many were accepted and flooded.

    Half of them call themselves by one name. `kind` is the type of socket that they claim to be.
    """
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    flooded = 0
    for number in range(connections):
        name = b"fuzz" if number % 2 else rng.randbytes(6).replace(b"\0", b"x")
        with socket.create_connection((host, int(port)), _PATIENCE_MS / 1000) as client:
            # Closed, it is reset at once, and what the receiver has not read yet is lost.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(_GREETING + _ready(kind.encode(), name))
            _read(client, len(_GREETING))
            # A receiver that has no room need not take all of it.
            client.settimeout(_RESET_AFTER_S)
            body = b"\x01fuzz" if kind == "SUB" else b"fuzz"
            pings = _PING if rng.random() < 0.7 else b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                client.sendall((b"\x00" + bytes([len(body)]) + body + pings) * _PER_RESET)
            time.sleep(rng.random() * _RESET_AFTER_S)
            flooded += 1
    return flooded


def _ready(kind: bytes, name: bytes) -> bytes:
    """Say as what kind of socket, and under which name, a connection comes."""
    properties = ((b"Socket-Type", kind), (b"Identity", name))
    told = b"".join(bytes([len(key)]) + key + struct.pack(">I", len(value)) + value for key, value in properties)
    return b"\x04" + bytes([len(told) + 6]) + b"\x05READY" + told


def _read(client: socket.socket, size: int) -> None:
    """Read so many bytes.

    Raises:
        OSError: the other side has hung up.
    """
    while size:
        read = len(client.recv(size))
        if not read:
            raise ConnectionResetError("the receiver has hung up")
        size -= read


def _parts(rng: random.Random) -> list[bytes]:
    makers: tuple[Callable[[random.Random], list[bytes]], ...] = (_noise, _cut, _changed, _wrong, _nested, _many)
    return rng.choice(makers)(rng)


def _noise(rng: random.Random) -> list[bytes]:
    return [rng.randbytes(rng.randint(0, 300)) for _ in range(rng.randint(1, 4))]


def _cut(rng: random.Random) -> list[bytes]:
    header = _header(rng)
    return [header[: rng.randrange(len(header))], *_noise(rng)]


def _changed(rng: random.Random) -> list[bytes]:
    header = bytearray(_header(rng))
    for _ in range(rng.randint(1, 4)):
        header[rng.randrange(len(header))] = rng.randrange(256)
    return [bytes(header), *_noise(rng)]


def _wrong(rng: random.Random) -> list[bytes]:
    """A known kind with values that do not belong there."""
    kind = type(rng.choice(_VALID)).__name__
    odd: tuple[object, ...] = (
        None,
        True,
        -1,
        2**63,
        1.5,
        float("nan"),
        float("inf"),
        "x" * 400,
        b"y",
        [],
        {},
        [[1]],
        {"a": 1},
    )
    values = [kind, *(rng.choice(odd) for _ in range(rng.randint(0, 12)))]
    return [msgpack.packb(values), *_noise(rng)]


def _nested(rng: random.Random) -> list[bytes]:
    """Lists within lists, or a list that claims to be endless."""
    return [rng.choice((b"\x91" * rng.randint(1, 60_000), b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff\xa1a"))]


def _many(rng: random.Random) -> list[bytes]:
    return [_header(rng), *(b"" for _ in range(rng.randint(5, 500)))]


def _header(rng: random.Random) -> bytes:
    header: bytes = encode(rng.choice(_VALID))[0]
    return header
