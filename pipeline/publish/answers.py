"""Answers requests for what was missed: a bounded piece each, within each client's budgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq

from posestream.pipeline.errors import DecodeError
from posestream.pipeline.publish.history import History
from posestream.pipeline.publish.limits import ClientLimits, Quota
from posestream.pipeline.publish.log import LogLimits, ReplayLog
from posestream.pipeline.publish.outlets import Outlets
from posestream.pipeline.publish.request import (
    ListRequest,
    ReplayRequest,
    busy_answer,
    list_answer,
    read_request,
    replay_answer,
)
from posestream.pipeline.wire.sockets import has_more

__all__ = ["Answers", "client_of"]

#: A piece has at most so many messages and bytes: it must not hold up live messages for more than a millisecond or two.
_PIECE_MESSAGES, _PIECE_BYTES = 256, 256 << 10
#: Requests that are answered before somebody else has a turn.
_AT_ONCE = 4
#: What one client may have, and all of them together, per second.
_EACH, _EVERYBODY = Quota(100.0, 16 << 20), Quota(1000.0, 64 << 20)
#: One that asks too much is told so while the wait is shorter than this, in seconds; beyond it gets no answer at all.
_MOST_WAIT_S = 5.0
#: The log of a source that is not known.
_NOTHING = ReplayLog(LogLimits())


class Answers:
    """Serves the socket of requests.

    A client asks for one piece after another, from where the last one ended, so that nothing is kept for it here.

    Args:
        history: what there is.
        clock: seconds of a clock that only goes forward.
    """

    def __init__(self, history: History, clock: Callable[[], float] = time.monotonic) -> None:
        self._history = history
        self._clock = clock
        self._limits = ClientLimits(_EACH, _EVERYBODY)
        #: The layout as it is told.
        self.layout: Mapping[str, Any] = {}
        #: Requests that were none, and those that were too many.
        self.malformed = 0
        self.refused = 0

    def serve(self, outlets: Outlets) -> None:
        """Answer some of what has come."""
        for _ in range(_AT_ONCE):
            if not has_more(outlets.replay):
                return
            peer, *parts = outlets.replay.recv_multipart(zmq.NOBLOCK, copy=False)
            answer = self.answer(client_of(peer, parts), [part.bytes for part in parts])
            if answer:
                outlets.answer(peer.bytes, answer)

    def answer(self, client: bytes, parts: Sequence[bytes]) -> list[bytes]:
        """Give the answer to a request; nothing for what is none, or far too much."""
        wait_s = self._limits.wait_s(client, self._clock())
        try:
            request = read_request(parts)
        except DecodeError:
            self.malformed += 1
            return []
        if wait_s:
            self.refused += 1
            return busy_answer(request, wait_s) if wait_s < _MOST_WAIT_S else []
        answer = self._answer(request)
        self._limits.spend(client, sum(len(part) for part in answer))
        return answer

    def _answer(self, request: ReplayRequest | ListRequest) -> list[bytes]:
        if isinstance(request, ListRequest):
            return list_answer(request, self._history.logs)
        log = self._history.logs.get(request.source, _NOTHING)
        span = log.since(request.place, _PIECE_MESSAGES, _PIECE_BYTES)
        return replay_answer(request, span, log, self.layout)


def client_of(peer: zmq.Frame, parts: Sequence[zmq.Frame]) -> bytes:
    """Tell who asks: a key where there are keys, else an address, else a connection."""
    for name in ("User-Id", "Peer-Address"):
        try:
            found = parts[0].get(name) if parts else ""
        except zmq.ZMQError:
            continue
        if found:
            return str(found).encode()
    return peer.bytes
