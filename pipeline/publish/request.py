"""Requests for what was missed and the answers to them, as they go over the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from posestream.pipeline.errors import DecodeError
from posestream.pipeline.publish.log import Position, ReplayLog, Span
from posestream.stages.message import VERSION

__all__ = [
    "MAX_REQUEST_BYTES",
    "ListRequest",
    "ReplayRequest",
    "busy_answer",
    "list_answer",
    "read_request",
    "replay_answer",
]

#: Largest request in bytes; larger ones cost their sender the connection.
MAX_REQUEST_BYTES = 1024
#: Largest number that a request may have.
_MOST = 1 << 53


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """A subscriber asks for a source's messages from a place on; None: from the oldest one that is there."""

    id: int
    source: str
    place: Position | None


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A subscriber asks which sources there are."""

    id: int


def read_request(parts: Sequence[bytes]) -> ReplayRequest | ListRequest:
    """Read a request.

    Raises:
        DecodeError: it is none.
    """
    if len(parts) != 1 or len(parts[0]) > MAX_REQUEST_BYTES:
        raise DecodeError(f"a request of {len(parts)} parts")
    try:
        asked = msgpack.unpackb(parts[0])
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not msgpack: {error}") from error
    if not isinstance(asked, dict) or asked.get("v") != VERSION:
        raise DecodeError("no request of this version")
    number = _whole(asked.get("id"))
    if asked.get("type") == "list":
        return ListRequest(number)
    source, run = asked.get("source"), asked.get("run")
    if asked.get("type") != "replay" or not isinstance(source, str):
        raise DecodeError("a request of no known type, or without a source")
    if run is None:
        return ReplayRequest(number, source, None)
    if not isinstance(run, str):
        raise DecodeError("a run that is no text")
    return ReplayRequest(number, source, Position(run, _whole(asked.get("n"))))


def replay_answer(request: ReplayRequest, span: Span, log: ReplayLog, layout: Mapping[str, Any]) -> list[bytes]:
    """Give the parts of an answer: what it is, then each message as it was published."""
    head: dict[str, Any] = {
        "v": VERSION,
        "type": "replay",
        "id": request.id,
        "source": request.source,
        "is_known": span.is_known,
        "is_last": span.is_last,
    }
    if span.is_last:
        head["next"] = _told(log.next)
        head["last"] = None if log.last is None else log.last.body
        head["layout"] = layout
    return [msgpack.packb(head), *(entry.body for entry in span.entries)]


def list_answer(request: ListRequest, logs: Mapping[str, ReplayLog]) -> list[bytes]:
    """Give the parts of an answer that lists the sources, and from where to where they can be had."""
    sources = [
        {"source": source, "first": _told(log.first), "next": _told(log.next)} for source, log in sorted(logs.items())
    ]
    return [msgpack.packb({"v": VERSION, "type": "list", "id": request.id, "sources": sources})]


def busy_answer(request: ReplayRequest | ListRequest, retry_s: float) -> list[bytes]:
    """Give the answer to who asks too much: come again later."""
    return [msgpack.packb({"v": VERSION, "type": "busy", "id": request.id, "retry_s": round(retry_s, 3)})]


def _told(place: Position | None) -> dict[str, Any] | None:
    return None if place is None else {"run": place.run, "n": place.n}


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise DecodeError("a number that is none, or out of range")
    return value
