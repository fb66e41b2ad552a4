"""The compiled decoder and the one in NumPy: the same people, bit for bit, whatever the maps hold."""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestream.models.layout import LAYOUTS, Layout
from posestream.pipeline.bench.group import planted_crowd
from posestream.stages.errors import SettingsError
from posestream.stages.group import compiled, decoder, implementation, limbs, pairing, peaks, people, zoom
from posestream.stages.group import settings as group_settings
from posestream.stages.group.compiled import MODULE, NotCompiledError, load
from posestream.stages.group.group import MOST_SIDE, Group, GroupSettings
from posestream.stages.group.implementation import choose_implementation
from posestream.stages.group.synthetic import planted_maps, random_people
from posestream.stages.items import FieldMaps, FrameKey, Poses, Transform

try:
    load()
except NotCompiledError as _error:
    is_compiled, _why = False, str(_error)
else:
    is_compiled, _why = True, ""

needs_compiled = pytest.mark.skipif(not is_compiled, reason=_why)

#: Waiting for another thread, in seconds.
DEADLINE_S = 60.0

seeds = st.integers(0, 2**32 - 1)
layouts = st.sampled_from(sorted(LAYOUTS)).map(LAYOUTS.__getitem__)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 70))
#: Settings from the usual to the ends of their ranges.
manners = st.builds(
    GroupSettings,
    peak_threshold=st.sampled_from([0.03, 0.0, 0.1, 0.5, 1.0]),
    limb_threshold=st.sampled_from([0.02, 0.0, 0.3]),
    limb_agreement=st.sampled_from([0.6, 0.0, 0.3, 1.0]),
    least_parts=st.sampled_from([2, 3, 5]),
    least_score=st.sampled_from([0.01, 0.0, 0.2]),
    most_people=st.sampled_from([128, 1, 5]),
    most_peaks_per_part=st.sampled_from([128, 1, 3, 20]),
    single_person=st.sampled_from([False, False, False, True]),
)


def noise(layout: Layout, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Everything may be anywhere."""
    scale = np.float32(10 ** rng.uniform(-3, 1))
    heatmaps = rng.standard_normal((layout.heatmap_count, *size)).astype(np.float32) * scale
    return heatmaps, rng.standard_normal((layout.paf_count, *size)).astype(np.float32)


def ties(layout: Layout, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A few values only, so that heights, fields and weights are often equal."""
    heatmaps = rng.integers(0, 3, (layout.heatmap_count, *size)).astype(np.float32) / 2
    return heatmaps, rng.integers(-1, 2, (layout.paf_count, *size)).astype(np.float32)


def broken(layout: Layout, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Here and there what is no number, infinite or huge; sometimes everywhere."""
    share = rng.choice([0.02, 0.5, 1.0])
    maps = noise(layout, size, rng)
    for values in maps:
        where = rng.random(values.shape) < share
        values[where] = rng.choice(np.float32([np.nan, np.inf, -np.inf, 1e30, -3e38, 1e6, 1e-42]), int(where.sum()))
    return maps


def sparse(layout: Layout, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Nearly nothing: single cells, at edges and corners too."""
    heatmaps = np.zeros((layout.heatmap_count, *size), np.float32)
    for part in range(len(heatmaps)):
        rows, columns = (rng.choice([0, side - 1, rng.integers(side)]) for side in size)
        heatmaps[part, rows, columns] = rng.uniform(0, 1)
    return heatmaps, np.full((layout.paf_count, *size), 0.5, np.float32)


def constant(layout: Layout, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One value everywhere."""
    value = rng.choice([0.0, 0.03, 0.5, 1.0, -1.0, 1e6])
    return (
        np.full((layout.heatmap_count, *size), value, np.float32),
        np.full((layout.paf_count, *size), value, np.float32),
    )


def crowd(layout: Layout, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """People of any size, some in each other's way, with noise."""
    people_map = random_people(layout, rng, int(rng.integers(0, 25)), size, (3.0, 24.0))
    return planted_maps(layout, people_map, size, noise=0.01, rng=rng)


def grouped(maps: FieldMaps, layout: Layout, settings: GroupSettings, name: Any) -> Poses:
    """Give the people that one implementation finds."""
    return Group(layout, dataclasses.replace(settings, implementation=name))(maps)


def assert_same(maps: FieldMaps, layout: Layout, settings: GroupSettings) -> Poses:
    """Both implementations find the same people, to the last bit."""
    one, other = (grouped(maps, layout, settings, name) for name in ("numpy", "compiled"))
    assert one.truncated == other.truncated
    assert [person.score for person in one.people] == [person.score for person in other.people]
    assert [person.keypoints.tobytes() for person in one.people] == [p.keypoints.tobytes() for p in other.people]
    return one


def maps_of(heatmaps: np.ndarray, pafs: np.ndarray, transform: Transform | None = None) -> FieldMaps:
    """Give maps of a picture that has eight pixels a cell."""
    _, height, width = heatmaps.shape
    return FieldMaps(FrameKey("a", 0), heatmaps, pafs, 8, transform or Transform(1.0, 1.0, width * 8, height * 8))


@needs_compiled
@pytest.mark.parametrize("kind", [noise, ties, broken, sparse, constant, crowd])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(layout=layouts, size=sizes, seed=seeds, manner=manners)
def test_both_find_the_same_people(
    kind: Any, layout: Layout, size: tuple[int, int], seed: int, manner: GroupSettings
) -> None:
    """Noise, ties, broken values, single cells, constants and crowds give the same people, for any settings."""
    assert_same(maps_of(*kind(layout, size, np.random.default_rng(seed))), layout, manner)


@needs_compiled
@settings(max_examples=30, deadline=None, derandomize=True)
@given(layout=layouts, seed=seeds, scale=st.tuples(st.floats(0.2, 3.0), st.floats(0.2, 3.0)), cut=st.integers(0, 60))
def test_both_see_the_same_picture(layout: Layout, seed: int, scale: tuple[float, float], cut: int) -> None:
    """Whatever the letterbox did, both leave out and draw in the same."""
    size = (32, 57)
    maps = crowd(layout, size, np.random.default_rng(seed))
    width, height = (max(8, round((cells * 8 - cut) / by)) for cells, by in zip(size[::-1], scale, strict=True))
    assert_same(maps_of(*maps, Transform(*scale, width, height)), layout, GroupSettings())


@needs_compiled
@pytest.mark.parametrize("how", ["float16", "float64", "strided", "transposed", "unaligned", "swapped", "read-only"])
def test_both_take_arrays_of_any_kind(how: str) -> None:
    """Half precision, views, other byte orders and unaligned arrays give the people of plain ones."""
    layout = LAYOUTS["openpose-18"]
    plain = planted_crowd(layout, 5, (32, 57), 3).maps
    made = [_made(maps, how) for maps in (plain.heatmaps_chw, plain.pafs_chw)]

    people = assert_same(maps_of(*made), layout, GroupSettings()).people

    assert len(people) >= 4
    if how != "float16":
        assert people[0].keypoints.tobytes() == Group(layout)(plain).people[0].keypoints.tobytes()


def _made(maps: np.ndarray, how: str) -> np.ndarray:
    """Give the same values, otherwise kept."""
    if how in ("float16", "float64"):
        return maps.astype(how)
    if how == "swapped":
        return maps.astype(maps.dtype.newbyteorder())
    if how == "strided":
        wide = np.zeros((2 * len(maps), *maps.shape[1:]), np.float32)
        wide[::2] = maps
        return wide[::2]
    if how == "transposed":
        return np.ascontiguousarray(maps.transpose(1, 2, 0)).transpose(2, 0, 1)
    if how == "unaligned":
        return np.frombuffer(b"x" + maps.tobytes(), np.float32, offset=1).reshape(maps.shape)
    maps = maps.copy()
    maps.flags.writeable = False
    return maps


@needs_compiled
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (300, 420)])
def test_both_take_small_and_large_maps(size: tuple[int, int]) -> None:
    """From a single cell to far more than a network gives."""
    layout = LAYOUTS["body-25"]
    rng = np.random.default_rng(4)
    heatmaps, pafs = noise(layout, size, rng)
    heatmaps[:, rng.random(size) < 0.9] = 0
    assert_same(maps_of(heatmaps, pafs), layout, GroupSettings())


@needs_compiled
def test_both_have_the_same_constants() -> None:
    """What is written down in C is what is written down in Python."""
    module = load()
    known = {
        "ZOOM": zoom.ZOOM,
        "REACH": zoom.REACH,
        "SAMPLES": group_settings.SAMPLES,
        "MOST_BOUND": group_settings.MOST,
        "MOST_SIDE": MOST_SIDE,
        "SHORTEST_MAP": np.float32(limbs.SHORTEST_MAP),
        "LOG_FLOOR": np.float32(peaks.LOG_FLOOR),
        "LEAST_BEND": peaks.LEAST_BEND,
        "SEEN_HALF_MAP": people.SEEN_HALF_MAP,
        "MOST_FIELD": decoder.MOST_FIELD,
        "LEAST_EXTENT_MAP": people.LEAST_EXTENT_MAP,
        "ALIKE": pairing.ALIKE,
        "LEAST_GAIN": pairing.LEAST_GAIN,
        "LEAST_SQUARE": pairing.LEAST_SQUARE,
        "ROUNDS": pairing.ROUNDS,
    }
    assert {name: getattr(module, name) for name in known} == known
    assert all(len(layout.keypoints) <= module.MOST_PARTS for layout in LAYOUTS.values())


@needs_compiled
def test_other_threads_run_meanwhile() -> None:
    """The compiled decoder lets go of the interpreter while it works."""
    layout = LAYOUTS["openpose-18"]
    maps = maps_of(*noise(layout, (300, 400), np.random.default_rng(0)))
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(DEADLINE_S)  # nobody lets go because of the time
    try:
        assert any(_is_seen_working(Group(layout, GroupSettings(implementation="compiled")), maps) for _ in range(50))
    finally:
        sys.setswitchinterval(interval_s)


def _is_seen_working(group: Group, maps: FieldMaps) -> bool:
    """Let another thread group, and say whether this one could look on before it had ended."""
    has_begun, has_ended = threading.Event(), threading.Event()

    def work() -> None:
        has_begun.set()
        group(maps)
        has_ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    has_begun.wait(DEADLINE_S)
    was_working = not has_ended.is_set()
    thread.join(DEADLINE_S)
    return was_working


@pytest.fixture
def _forgetful() -> None:
    """The log has told nothing yet."""
    implementation._tell_once.cache_clear()


@pytest.mark.usefixtures("_forgetful")
@pytest.mark.parametrize(
    ("module", "why", "level"),
    [
        (None, "nothing was compiled", logging.INFO),
        (SimpleNamespace(INTERFACE=-1), "another version", logging.WARNING),
        (ImportError("undefined symbol: x"), "undefined symbol: x", logging.WARNING),
    ],
    ids=["never compiled", "left from another version", "cannot be loaded"],
)
def test_auto_does_without_and_says_why(
    module: object, why: str, level: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the compiled decoder is not to be had, NumPy's serves, and the log tells once: news, or a warning."""
    _stand_in(module, monkeypatch)
    caplog.set_level(logging.INFO, "posestream")

    assert [Group(LAYOUTS["body-25"]).implementation for _ in range(3)] == ["numpy"] * 3

    (record,) = caplog.records
    assert record.levelno == level
    assert why in record.getMessage()
    assert "install a C compiler" in record.getMessage()


@pytest.mark.parametrize("module", [None, SimpleNamespace(INTERFACE=-1), ImportError("x")])
def test_the_compiled_one_is_not_replaced_where_it_is_asked_for(
    module: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`compiled` where nothing is compiled is an error that says what to do."""
    _stand_in(module, monkeypatch)

    with pytest.raises(SettingsError, match=r"group\.implementation = compiled: .*install a C compiler"):
        Group(LAYOUTS["openpose-18"], GroupSettings(implementation="compiled"))


def _stand_in(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let importing the compiled module give this, or fail like this."""

    def import_module(name: str) -> ModuleType:
        assert name == MODULE
        if module is None:
            raise ModuleNotFoundError(name)
        if isinstance(module, ImportError):
            raise module
        return module  # type: ignore[return-value]

    monkeypatch.setattr(compiled.importlib, "import_module", import_module)


@needs_compiled
def test_one_is_chosen() -> None:
    """`auto` takes the compiled decoder; `numpy` and `compiled` what they say; a grouping tells which it has."""
    assert choose_implementation("auto") == choose_implementation("compiled") == "compiled"
    assert choose_implementation("numpy") == "numpy"
    assert repr(Group(LAYOUTS["openpose-15"])) == "<Group openpose-15 compiled>"
