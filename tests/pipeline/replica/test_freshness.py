"""How many frames of live sources a replica may hold."""

from __future__ import annotations

import pytest

from posestream.models.engines.fake import FakeEngine
from posestream.models.spec import NetworkSpec
from posestream.pipeline.replica.freshness import Freshness


class Engine(FakeEngine):
    """Works on so many pictures at once, and has twice as many."""

    def __init__(self, spec: NetworkSpec, at_once: int, batch: int = 1) -> None:
        super().__init__(spec, capacity=2 * at_once, batch=batch)
        self._at_once = at_once

    @property
    def at_once(self) -> int:
        """The half of its capacity."""
        return self._at_once


@pytest.mark.parametrize(
    ("views", "at_once", "batch", "unknown", "brief"),
    [(1, 1, 1, 1, 2), (1, 2, 1, 2, 4), (2, 2, 1, 1, 2), (6, 2, 1, 1, 1), (1, 4, 4, 4, 8), (2, 4, 4, 4, 4)],
)
def test_frames_of_an_engine(spec: NetworkSpec, views: int, at_once: int, batch: int, unknown: int, brief: int) -> None:
    """At first as many as begin at once, in whole batches; with brief inferences as many as the engine has."""
    engine, freshness = Engine(spec, at_once, batch), Freshness(views)
    assert freshness.frames(engine) == unknown
    freshness.begun(engine, [1], 1)
    freshness.ended(1, 0.001)
    assert freshness.frames(engine) == brief


def test_the_wait_inside_is_no_inference(spec: NetworkSpec) -> None:
    """An inference that waited for another one took half of its time, and is brief by that."""
    engine, freshness = Engine(spec, 1), Freshness(1)
    freshness.begun(engine, [1], 1)
    freshness.begun(engine, [2], 2)
    freshness.ended(1, 0.08)
    freshness.ended(2, 0.16)
    assert freshness.frames(engine) == 2
    for ticket in range(10):
        freshness.begun(engine, [ticket], 1)
        freshness.ended(ticket, 0.16)
    assert freshness.frames(engine) == 1


def test_a_failure_tells_nothing(spec: NetworkSpec) -> None:
    """An inference that failed changes nothing, and is not remembered."""
    engine, freshness = Engine(spec, 1), Freshness(1)
    freshness.begun(engine, [7], 1)
    freshness.ended(7, None)
    assert freshness.frames(engine) == 1
    assert repr(freshness) == "<Freshness inference=None s>"
    with pytest.raises(KeyError):
        freshness.ended(7, None)
