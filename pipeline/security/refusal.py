"""What became of a connection that was not let in, in words: by what its socket reports of the handshake."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import zmq

__all__ = ["REFUSAL_EVENTS", "RefusalCount"]

#: What a socket reports of a client that could not even ask to be let in.
REFUSAL_EVENTS = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
#: So many of each kind are logged; more are only counted, lest somebody fill the log.
_TOLD = 3
_WRONG_KEY = "turned away: a client that does not have this head's key"
_NO_KEYS = "turned away: a client without keys"
_NEEDLESS_KEYS = "turned away: a client with keys, where this head has none"
_NO_CLIENT = "turned away: what does not speak as a client does"
#: ZeroMQ's clients end a connection themselves when they see that the other side wants keys, often before this side has
#: read what they said: nothing tells them from one who looks whether the port is open.
_LEFT = "a connection ended while it was being opened: a mere look at the port, or a client {} keys"


class RefusalCount:
    """Counts who was turned away, and tells the first ones of each kind.

    Args:
        log: where it is told.
        has_keys: True where clients need keys.
    """

    def __init__(self, log: logging.Logger, *, has_keys: bool) -> None:
        self._log = log
        self._has_keys = has_keys
        self._told: dict[str, int] = {}
        #: Connections that came to nothing.
        self.refused = 0

    def __repr__(self) -> str:
        return f"<RefusalCount {self.refused}>"

    def note(self, event: Mapping[str, Any]) -> None:
        """Take one of `REFUSAL_EVENTS`."""
        self.count(self._why(event))

    def count(self, what: str) -> None:
        """Count one, as told."""
        self.refused += 1
        # A kind each, whatever host follows.
        kind = what.partition(", at ")[0]
        self._told[kind] = self._told.get(kind, 0) + 1
        self._log.log(logging.WARNING if self._told[kind] <= _TOLD else logging.DEBUG, "%s", what)

    def _why(self, event: Mapping[str, Any]) -> str:
        if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            return _LEFT.format("without" if self._has_keys else "with")
        if event["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return _NO_KEYS if self._has_keys else _NEEDLESS_KEYS
        return _WRONG_KEY if event["value"] == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC else _NO_CLIENT
