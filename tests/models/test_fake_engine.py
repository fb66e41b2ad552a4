from __future__ import annotations

import numpy as np
import pytest

from posestream.models.engines.base import Engine
from posestream.models.engines.fake import FakeEngine
from posestream.models.errors import EngineError, InferenceError
from posestream.models.registry import load_registry

SPEC = load_registry()["mobilenet-thin"]


def test_finishes_at_once_and_finds_nobody(picture, wait):
    """By default every picture is done at once, with empty maps of the network's channels and size."""
    engine: Engine = FakeEngine(SPEC)
    engine.submit([1], [picture(64, 96)])
    (done,) = wait(engine)
    assert done.ticket == 1
    assert (done.heatmaps_chw.shape, done.pafs_chw.shape) == ((19, 8, 12), (38, 8, 12))
    assert not done.heatmaps_chw.any()
    engine.close()


def test_computes_what_it_is_told(picture, wait):
    """A function of the picture takes the network's place."""
    engine = FakeEngine(SPEC, lambda image: (image[None, :, :, 0] * 1.0, np.zeros((38, 8, 8))))
    engine.submit([1], [picture(64, 64)])
    np.testing.assert_array_equal(wait(engine)[0].heatmaps_chw[0], picture(64, 64)[:, :, 0])
    engine.close()


def test_manual_engine_waits_to_be_told(picture, wait):
    """A manual engine finishes and fails its oldest pictures when told, successes first, failures one a call."""
    engine = FakeEngine(SPEC, capacity=4, is_manual=True)
    for ticket in range(4):
        engine.submit([ticket], [picture(64, 64)])
    with pytest.raises(EngineError, match="all 4 requests are busy"):
        engine.submit([4], [picture(64, 64)])
    assert engine.completed() == []
    assert engine.running == [0, 1, 2, 3]
    engine.fail("broken")
    engine.finish(2)
    engine.fail("broken too")
    assert [done.ticket for done in wait(engine)] == [1, 2]
    for ticket, message in ((0, "broken"), (3, "broken too")):
        with pytest.raises(InferenceError, match=message) as caught:
            wait(engine)
        assert caught.value.tickets == (ticket,)
    assert engine.completed() == []
    engine.submit([5], [picture(64, 64)])
    assert repr(engine) == "FakeEngine(mobilenet-thin, 1 running, 0 done)"
    engine.close()


def test_pictures_together_end_and_fail_together(picture, wait):
    """A batch is one inference: it is finished, or fails with the tickets of all its pictures, and frees their room."""
    engine = FakeEngine(SPEC, capacity=4, batch=2, is_manual=True)
    engine.submit([0, 1], [picture(64, 64)] * 2)
    engine.submit([2], [picture(64, 64)])
    with pytest.raises(EngineError, match="all 4 requests are busy"):
        engine.submit([3, 4], [picture(64, 64)] * 2)
    assert engine.begun == [(0, 1), (2,)]
    engine.fail("broken")
    engine.finish()
    assert [done.ticket for done in wait(engine)] == [2]
    with pytest.raises(InferenceError, match="broken") as caught:
        wait(engine)
    assert caught.value.tickets == (0, 1)
    engine.submit([3, 4], [picture(64, 64)] * 2)
    engine.submit([5, 6], [picture(64, 64)] * 2)
    engine.close()


@pytest.mark.parametrize(
    ("tickets", "sizes", "message"),
    [
        ([], [], "0 pictures with 0 tickets: it takes 1 to 2 together"),
        ([1, 2, 3], [64, 64, 64], "3 pictures with 3 tickets"),
        ([1, 2], [64], "1 pictures with 2 tickets"),
        ([1, 2], [64, 72], "pictures of 2 sizes together"),
        ([1, 2], [64, 60], "multiples of 8"),
    ],
)
def test_what_is_no_batch_is_refused(picture, tickets, sizes, message):
    """Pictures that cannot be inferred together are refused before any of them is begun."""
    engine = FakeEngine(SPEC, capacity=4, batch=2)
    with pytest.raises(EngineError, match=message):
        engine.submit(tickets, [picture(64, size) for size in sizes])
    assert engine.begun == []
    engine.close()


def test_notes_what_was_prepared_and_closed():
    """The fake tells afterwards which sizes were prepared and whether it was closed, and refuses wrong sizes."""
    engine = FakeEngine(SPEC)
    engine.prepare(64, 96)
    with pytest.raises(EngineError, match="multiples of 8"):
        engine.prepare(60, 96)
    engine.close()
    assert engine.prepared == [(64, 96)]
    assert engine.is_closed
