"""How many frames of live sources a replica may hold: what its engine begins on at once, or soon."""

from __future__ import annotations

from collections.abc import Iterable

from posestream.models.engines.base import Engine

__all__ = ["Freshness", "whole_batches"]

#: A live source's frame may wait inside a replica for an inference that takes no longer, in seconds: a fifth of the age
#: at which such a frame is of no use any more (`max_age_s`). An engine that waits for each hop instead gives a third
#: less where decoders take the processor too (`bench live --streams 8`).
_BRIEF_S = 0.1
#: How much the last inference counts in the mean.
_WEIGHT = 0.2


class Freshness:
    """Learns how long an inference takes.

    Args:
        views: how often the network sees each frame.
    """

    def __init__(self, views: int) -> None:
        self._views = views
        #: By ticket, how many inferences one after another it takes until that one is done.
        self._waves: dict[int, int] = {}
        self._mean_s: float | None = None

    def __repr__(self) -> str:
        return f"<Freshness inference={self._mean_s} s>"

    def begun(self, engine: Engine, tickets: Iterable[int], pictures: int) -> None:
        """Note that an inference was begun, after which the engine has so many pictures."""
        self._waves |= dict.fromkeys(tickets, _rounds(pictures, engine.at_once))

    def ended(self, ticket: int, elapsed_s: float | None) -> None:
        """Note that it ended, and after how long, the wait inside the engine included; None: it failed."""
        waves = self._waves.pop(ticket)
        if elapsed_s is not None:
            last_s = elapsed_s / waves
            self._mean_s = last_s if self._mean_s is None else self._mean_s + _WEIGHT * (last_s - self._mean_s)

    def frames(self, engine: Engine) -> int:
        """Give how many frames of live sources the replica may hold now."""
        at_once = engine.at_once
        if self._mean_s is not None and self._mean_s * _rounds(self._views, at_once) <= _BRIEF_S:
            at_once = engine.capacity
        return whole_batches(at_once, self._views, engine.batch)


def whole_batches(pictures: int, views: int, batch: int) -> int:
    """Give how many frames so many pictures are, each seen so often, in whole batches."""
    return _rounds(_rounds(pictures, views), batch) * batch


def _rounds(count: int, at_once: int) -> int:
    return -(-count // at_once)
