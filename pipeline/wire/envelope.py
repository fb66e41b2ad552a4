"""The envelope of every hop, `[header (msgpack) | payload buffers …]`: messages to parts and back."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import zmq
from numpy.typing import DTypeLike, NDArray

from posestream.pipeline.errors import DecodeError
from posestream.pipeline.wire.codec import record_check, record_pack
from posestream.pipeline.wire.messages import Message

__all__ = ["Envelope", "Part", "array", "decode", "encode"]

#: What a socket takes as one part: bytes, or anything with a buffer that may travel without a copy.
Part = Any

#: Largest header in bytes; a larger one is not ours.
MAX_HEADER_BYTES = 1 << 16
#: Longest side of an array on the wire.
_LONGEST_SIDE = 1 << 20


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message and its payloads, as they came off a socket."""

    message: Message
    payloads: tuple[zmq.Frame, ...]


def encode(message: Message, payloads: Sequence[Part] = ()) -> list[Part]:
    """Give the parts to send: the header, then the payloads as they are."""
    kind = type(message)
    header: bytes = msgpack.packb((kind.__name__, *_PACKS[kind](message)))
    return [header, *payloads]


def decode(parts: Sequence[zmq.Frame]) -> Envelope:
    """Read an envelope.

    Raises:
        DecodeError: the parts are not a message of ours; the text says in what way.
    """
    if not parts:
        raise DecodeError("an envelope without parts")
    header = parts[0].buffer
    if len(header) > MAX_HEADER_BYTES:
        raise DecodeError(f"a header of {len(header)} bytes")
    try:
        values = msgpack.unpackb(header, use_list=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not msgpack: {error}") from error
    if not isinstance(values, tuple) or not values or not isinstance(values[0], str):
        raise DecodeError("a header that is not [kind, fields …]")
    check = _CHECKS.get(values[0])
    if check is None:
        raise DecodeError(f"unknown kind {values[0][:40]!r}")
    return Envelope(check(values[1:]), tuple(parts[1:]))


def array(payload: zmq.Frame, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """View a payload as a read-only array without copying it.

    Raises:
        DecodeError: the payload's size does not fit.
    """
    wanted = np.dtype(dtype)
    # A shape with a zero in it fits an empty payload whatever its other sides are.
    is_possible = all(0 <= side <= _LONGEST_SIDE for side in shape)
    if not is_possible or len(payload.buffer) != wanted.itemsize * math.prod(shape):
        raise DecodeError(f"a payload of {len(payload.buffer)} bytes for {shape} {wanted}")
    view = np.frombuffer(payload.buffer, wanted).reshape(shape)
    view.flags.writeable = False
    return view


_KINDS: tuple[type, ...] = typing.get_args(Message)
_PACKS = {kind: record_pack(kind) for kind in _KINDS}
_CHECKS = {kind.__name__: record_check(kind) for kind in _KINDS}
