"""Sources that a subscriber named and that nobody publishes: told once, with those that there are."""

from __future__ import annotations

import logging
from collections.abc import Collection

__all__ = ["Unheard"]

_log = logging.getLogger(__name__)

#: So long after a publisher was heard nothing of a source is strange: a status tells of each once a second. In seconds.
_PATIENCE_S = 5.0
#: So many names are told at most, with how many there are besides.
_TOLD = 20


class Unheard:
    """Notes which of the named sources are heard.

    Args:
        sources: those named; None: whatever there is, so that none can be missing.
    """

    def __init__(self, sources: Collection[str] | None) -> None:
        self._missing = set(sources or ())
        self._due_s: float | None = None

    def __repr__(self) -> str:
        return f"<Unheard {sorted(self._missing)}>"

    def note(self, source: str) -> None:
        """Note that something of a source was heard."""
        self._missing.discard(source)

    def begin(self, now_s: float) -> None:
        """Note that the publisher is there; the first time counts."""
        if self._due_s is None:
            self._due_s = now_s + _PATIENCE_S

    def is_due(self, now_s: float) -> bool:
        """True once it is to be told that something is missing."""
        return bool(self._missing) and self._due_s is not None and now_s >= self._due_s

    def tell(self, others: Collection[str] | None) -> None:
        """Say once what is missing, and which sources there are; None: the publisher does not say."""
        missing = _listed(self._missing)
        there = "it does not say what it has" if others is None else f"it has {_listed(others) or 'none yet'}"
        _log.warning("nothing of %s was heard from the publisher within %g s; %s", missing, _PATIENCE_S, there)
        self._missing.clear()


def _listed(names: Collection[str]) -> str:
    told = ", ".join(sorted(names)[:_TOLD])
    return f"{told} and {len(names) - _TOLD} more" if len(names) > _TOLD else told
