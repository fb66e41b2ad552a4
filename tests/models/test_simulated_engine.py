"""The simulated device: it answers on time, with what was recorded, and nobody meets it by mistake."""

from __future__ import annotations

import select
import time

import numpy as np
import pytest

from posestream.models.choice import choose
from posestream.models.engines import available_devices, check_device, open_engine
from posestream.models.engines.base import Engine
from posestream.models.engines.simulated import Service, SimulatedEngine
from posestream.models.errors import EngineError
from posestream.models.registry import load_registry
from posestream.models.weights import Weights, WeightStore

REGISTRY = load_registry()
SPEC = REGISTRY["mobilenet-thin"]
#: Cells of the maps of a 96×64 picture.
ROWS, COLUMNS = 8, 12


def opened(device: str, requests: int = 0, batch: int = 0) -> Engine:
    """Open the device as the pipeline does, without any file of the network."""
    return open_engine(SPEC, Weights(SPEC, ()), device, "auto", requests, batch)


@pytest.fixture
def recorded(tmp_path):
    """Five recorded outputs, each of its own constant value."""
    values = np.arange(1, 6, dtype=np.float32)[:, None, None, None]
    path = tmp_path / "maps.npz"
    np.savez(
        path,
        heatmaps_chw=np.broadcast_to(values, (5, 19, ROWS, COLUMNS)),
        pafs_chw=np.broadcast_to(-values, (5, 38, ROWS, COLUMNS)),
    )
    return path


def test_answers_in_order_after_its_service_time_with_empty_maps(picture, wait):
    """Without recorded maps it finds nobody; each inference takes the service time, and they do not overlap."""
    engine = opened("simulated:30")
    started_s = time.monotonic()
    engine.submit([1], [picture(64, 96)])
    engine.submit([2], [picture(64, 96)])
    done = wait(engine)
    while len(done) < 2:
        done += wait(engine)
    assert time.monotonic() - started_s >= 0.06
    assert [one.ticket for one in done] == [1, 2]
    assert done[0].elapsed_s == pytest.approx(0.03, abs=1e-6)
    assert 0.03 <= done[1].elapsed_s <= 0.06
    assert (done[0].heatmaps_chw.shape, done[0].pafs_chw.shape) == ((19, ROWS, COLUMNS), (38, ROWS, COLUMNS))
    assert not done[0].heatmaps_chw.any()
    engine.close()


def test_its_rate_does_not_fall_behind_with_late_wake_ups(picture, wait):
    """A picture submitted while it works is due one service time after the one before it, to the microsecond."""
    engine = SimulatedEngine(SPEC, "simulated:5", Service(0.005), requests=20)
    for ticket in range(20):
        engine.submit([ticket], [picture(64, 96)])
    submitted_s = time.monotonic()
    done = []
    while len(done) < 20:
        done += wait(engine)
    assert [one.ticket for one in done] == list(range(20))
    assert done[-1].elapsed_s <= 20 * 0.005 + 1e-6
    assert time.monotonic() - submitted_s >= done[-1].elapsed_s - 0.005
    engine.close()


def test_the_same_picture_has_the_same_answer_whoever_gives_it(recorded, picture, wait):
    """Recorded maps are chosen by the picture's content alone, so that two engines agree; different ones are used."""
    answers = []
    for _ in range(2):
        engine = opened(f"simulated:0:{recorded}")
        values = []
        for seed in range(12):
            image = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)
            engine.submit([seed], [image])
            (done,) = wait(engine)
            assert np.ptp(done.heatmaps_chw) == 0
            assert (done.pafs_chw == -done.heatmaps_chw[0, 0, 0]).all()
            values.append(float(done.heatmaps_chw[0, 0, 0]))
        answers.append(values)
        engine.close()
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 1


def test_answers_belong_to_the_receiver(recorded, picture, wait):
    """Writing into an answer does not change the next one."""
    engine = opened(f"simulated:0:{recorded}")
    engine.submit([1], [picture(64, 96)])
    first = wait(engine)[0].heatmaps_chw
    kept = first.copy()
    first[:] = 99
    engine.submit([2], [picture(64, 96)])
    np.testing.assert_array_equal(wait(engine)[0].heatmaps_chw, kept)
    engine.close()


def test_takes_so_many_pictures_and_no_more(picture, wait):
    """One more than its capacity is refused until what is done has been taken."""
    engine = opened("simulated:0", requests=1)
    assert engine.capacity == 1
    engine.submit([1], [picture(64, 96)])
    with pytest.raises(EngineError, match="all 1 requests are busy"):
        engine.submit([2], [picture(64, 96)])
    wait(engine)
    engine.submit([2], [picture(64, 96)])
    assert [one.ticket for one in wait(engine)] == [2]
    engine.close()


def test_a_batch_takes_its_own_time_and_each_picture_more(picture, wait):
    """Pictures that are submitted together end together, after the fixed time and so much more for each of them."""
    engine = opened("simulated:10+5")
    assert (engine.batch, engine.capacity) == (8, 16)
    started_s = time.monotonic()
    engine.submit([1, 2, 3], [picture(64, 96)] * 3)
    done = []
    while len(done) < 3:
        done += wait(engine)
    assert time.monotonic() - started_s >= 0.025
    assert [one.ticket for one in done] == [1, 2, 3]
    assert {round(one.elapsed_s, 6) for one in done} == {0.025}
    assert "10 ms and 5 ms a picture" in engine.description
    engine.close()


def test_its_batch_is_what_was_asked_for_and_no_more_than_fits(picture):
    """A number of pictures can be chosen; one more than these, or than its capacity has room for, is refused."""
    engine = opened("simulated:60000", requests=5, batch=3)
    assert (engine.batch, engine.capacity) == (3, 5)
    with pytest.raises(EngineError, match="4 pictures with 4 tickets: it takes 1 to 3 together"):
        engine.submit(range(4), [picture(64, 96)] * 4)
    engine.submit(range(3), [picture(64, 96)] * 3)
    with pytest.raises(EngineError, match="all 5 requests are busy"):
        engine.submit(range(3, 6), [picture(64, 96)] * 3)
    engine.submit([3, 4], [picture(64, 96)] * 2)
    engine.close()
    alone = opened("simulated:1+1", requests=1, batch=4)
    assert alone.batch == 1
    alone.close()


def test_closes_while_it_works(picture):
    """Closing does not wait for an inference that takes a minute."""
    engine = opened("simulated:60000")
    engine.submit([1], [picture(64, 96)])
    engine.close()
    assert engine.completed() == []


def test_it_hangs_where_it_was_told_to(picture):
    """The inference with the chosen number never ends, nor does what comes after it."""
    engine = opened("simulated:0@2")
    done = []
    for ticket in range(2):
        engine.submit([ticket], [picture(64, 96)])
    while not done:
        assert select.select([engine.fileno()], [], [], 60.0)[0]
        done += engine.completed()
    assert [one.ticket for one in done] == [0]
    assert not select.select([engine.fileno()], [], [], 0.2)[0]


@pytest.mark.parametrize(
    "device",
    [
        "simulated",
        "simulated:",
        "simulated:fast",
        "simulated:-1",
        "simulated:nan",
        "simulated:1e9",
        "simulated:1+",
        "simulated:1+-2",
        "simulated:1@",
        "simulated:1@0",
        "simulated:1@x",
    ],
)
def test_a_service_time_that_is_none_is_refused(device):
    """A device string without a sensible number of milliseconds is refused with how to write it."""
    with pytest.raises(EngineError, match="write simulated:MILLISECONDS"):
        check_device(device)


def test_maps_that_do_not_fit_are_refused(tmp_path, recorded, picture):
    """A missing file, other arrays, another network's channels and another picture size are refused in one line."""
    with pytest.raises(EngineError, match=r"is no \.npz"):
        opened(f"simulated:1:{tmp_path / 'none.npz'}")
    (tmp_path / "text.npz").write_text("no maps")
    with pytest.raises(EngineError, match=r"is no \.npz"):
        opened(f"simulated:1:{tmp_path / 'text.npz'}")
    np.savez(tmp_path / "few.npz", heatmaps_chw=np.zeros((19, 8, 12), np.float32))
    with pytest.raises(EngineError, match=r"is no \.npz"):
        opened(f"simulated:1:{tmp_path / 'few.npz'}")
    np.savez(
        tmp_path / "other.npz", heatmaps_chw=np.zeros((16, 8, 12), np.float32), pafs_chw=np.zeros((28, 8, 12), "f4")
    )
    with pytest.raises(EngineError, match="are none of mobilenet-thin"):
        opened(f"simulated:1:{tmp_path / 'other.npz'}")
    engine = opened(f"simulated:1:{recorded}")
    with pytest.raises(EngineError, match="its maps are of 96×64 pictures, not of 64×64"):
        engine.submit([1], [picture(64, 64)])
    engine.close()


def test_any_network_can_be_simulated_without_its_files(tmp_path):
    """Every network of the registry can be chosen for it with an empty cache, those that nothing here can run too."""
    store = WeightStore([], tmp_path)
    for name, spec in REGISTRY.items():
        choice = choose(name, "simulated:20", store, REGISTRY)
        assert (choice.spec, choice.device) == (spec, "simulated:20")
        engine = open_engine(choice.spec, choice.weights, choice.device)
        assert "20 ms" in engine.description
        engine.close()
    assert choose("auto", "simulated:20", store, REGISTRY).spec.name in REGISTRY
    assert list(tmp_path.iterdir()) == []


def test_it_is_no_device_of_this_machine():
    """No list of devices names it, and `auto` never takes it."""
    assert not [device for device in available_devices() if "simulated" in device]
    assert not [spec.name for spec in REGISTRY.values() if "simulated" in spec.devices]
