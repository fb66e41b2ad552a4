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
_LEFT = "a connection ended before it had said who it is: a look at the port, or no client"


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
        #: Those that were turned away; who left by itself is none of them.
        self.refused = 0

    def __repr__(self) -> str:
        return f"<RefusalCount {self.refused}>"

    def note(self, event: Mapping[str, Any]) -> None:
        """Take one of `REFUSAL_EVENTS`."""
        if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._tell(_LEFT)
            return
        self.count(self._why(event["value"]))

    def count(self, what: str) -> None:
        """Count one that was turned away, as told."""
        self.refused += 1
        self._tell(what)

    def _why(self, value: int) -> str:
        if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return _NO_KEYS if self._has_keys else _NEEDLESS_KEYS
        return _WRONG_KEY if value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC else _NO_CLIENT

    def _tell(self, what: str) -> None:
        # Told of under the kind alone: an address in it would make each a kind of its own.
        kind = what.partition(", at ")[0]
        self._told[kind] = self._told.get(kind, 0) + 1
        self._log.log(logging.WARNING if self._told[kind] <= _TOLD else logging.DEBUG, "%s", what)
