"""Pictures seen several times: what the network is shown, and the mean of what it gave."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestream.models.layout import LAYOUTS, Layout
from posestream.stages.ensemble import Ensemble, EnsembleSettings, mirrored_pafs
from posestream.stages.errors import SettingsError
from posestream.stages.group.group import Group
from posestream.stages.group.synthetic import planted_maps, random_people
from posestream.stages.items import FieldMaps, FrameKey, Transform

SIZE_MAP = (30, 44)
IMAGE = np.random.default_rng(1).integers(0, 255, (8 * SIZE_MAP[0], 8 * SIZE_MAP[1], 3), np.uint8)

layouts = st.sampled_from(sorted(LAYOUTS)).map(LAYOUTS.__getitem__)


def ensemble(layout: Layout, *, flip: bool = False, scales: tuple[float, ...] = (1.0,)) -> Ensemble:
    """Make one of networks with cells of eight pixels."""
    return Ensemble(layout, 8, 8, EnsembleSettings(flip=flip, scales=scales))


def mirrored(layout: Layout, people: np.ndarray, columns: int) -> np.ndarray:
    """Mirror people in cells: what was left is right then."""
    sides = {"left": "right", "right": "left"}
    names = ["_".join(sides.get(word, word) for word in name.split("_")) for name in layout.keypoints]
    return (people * (-1, 1) + (columns, 0))[:, [layout.keypoints.index(name) for name in names]].astype(np.float32)


def test_once_as_it_is_costs_nothing() -> None:
    """By default the picture and the maps are handed on as they are, not even copied."""
    plain = ensemble(LAYOUTS["openpose-18"])
    maps = planted_maps(LAYOUTS["openpose-18"], np.zeros((0, 18, 2), np.float32), SIZE_MAP)

    assert plain.count == 1
    assert plain.view(IMAGE, 0) is IMAGE
    assert plain.mean(IMAGE, [maps]) is maps


@given(layout=layouts, seed=st.integers(0, 1000))
def test_mirrored_people_come_back(layout: Layout, seed: int) -> None:
    """The maps that a perfect network gives for the mirrored picture become those of the picture, for all layouts."""
    people = random_people(layout, np.random.default_rng(seed), 3, SIZE_MAP, (8, 24))
    plain = planted_maps(layout, people, SIZE_MAP)
    other = planted_maps(layout, mirrored(layout, people, SIZE_MAP[1]), SIZE_MAP)

    heatmaps, pafs = ensemble(layout, flip=True).mean(IMAGE, [plain, other])

    np.testing.assert_allclose(heatmaps, plain[0], atol=1e-4)
    # A cell at a limb's very edge may be on either side of it, by rounding.
    assert (np.abs(pafs - plain[1]) > 1e-4).mean() < 1e-3


@given(layout=layouts, seed=st.integers(0, 1000), scale=st.floats(0.5, 0.95), flip=st.booleans())
def test_scaled_people_lie_on_themselves(layout: Layout, seed: int, scale: float, flip: bool) -> None:
    """Keypoints found in smaller maps alone come back at the network input's cells to a tenth of a cell."""
    people = random_people(layout, np.random.default_rng(seed), 1, SIZE_MAP, (20, 28))
    seen = ensemble(layout, flip=flip, scales=(scale, 1.0))
    # The true scale of each axis is that of whole pixels.
    true = [round(size * scale) / size for size in (IMAGE.shape[1], IMAGE.shape[0])]
    outputs = []
    for number in range(seen.count):
        rows, columns = (size // 8 for size in seen.view(IMAGE, number).shape[:2])
        is_small = (rows, columns) != SIZE_MAP
        at = people * true if is_small else people
        if flip and number % 2:
            at = mirrored(layout, at, columns)
        maps = planted_maps(layout, at.astype(np.float32), (rows, columns))
        # Nothing comes from the picture itself, so that it cannot hide where the smaller maps put things.
        outputs.append(maps if is_small else tuple(np.zeros_like(one) for one in maps))

    heatmaps, _ = seen.mean(IMAGE, outputs)

    y, x = np.arange(SIZE_MAP[0]) + 0.5, np.arange(SIZE_MAP[1]) + 0.5
    for heatmap, (x_map, y_map) in zip(heatmaps, people[0], strict=False):
        # A keypoint near the edge has only part of its Gaussian in the maps.
        edge = 4 / scale + 2
        if np.isnan(x_map) or not (edge < x_map < SIZE_MAP[1] - edge and edge < y_map < SIZE_MAP[0] - edge):
            continue
        mass = heatmap.sum()
        assert abs((heatmap.sum(axis=0) @ x) / mass - x_map) < 0.1
        assert abs((heatmap.sum(axis=1) @ y) / mass - y_map) < 0.1


def test_views_are_what_a_network_takes() -> None:
    """Views are contiguous, of multiples of eight, the picture itself first, and mirrored ones mirror their scale's."""
    seen = ensemble(LAYOUTS["body-25"], flip=True, scales=(0.5, 1.0, 0.7))
    views = [seen.view(IMAGE, number) for number in range(seen.count)]

    assert views[0] is IMAGE
    assert all(view.flags.c_contiguous and view.shape[0] % 8 == view.shape[1] % 8 == 0 for view in views)
    sizes = [view.shape[:2] for view in views]
    assert sizes == [(240, 352), (240, 352), (168, 248), (168, 248), (120, 176), (120, 176)]
    for view, other in zip(views[::2], views[1::2], strict=True):
        np.testing.assert_array_equal(view[:, ::-1], other)
    assert not views[2][:, 246:].any(), "the padding is no picture"


def test_half_floats_are_averaged_as_floats() -> None:
    """Maps of float16 give a mean of float32, which grouping takes."""
    layout = LAYOUTS["openpose-18"]
    people = random_people(layout, np.random.default_rng(3), 1, SIZE_MAP, (20, 24))
    maps = tuple(one.astype(np.float16) for one in planted_maps(layout, people, SIZE_MAP))
    other = tuple(
        one.astype(np.float16) for one in planted_maps(layout, mirrored(layout, people, SIZE_MAP[1]), SIZE_MAP)
    )

    heatmaps, pafs = ensemble(layout, flip=True).mean(IMAGE, [maps, other])

    assert heatmaps.dtype == pafs.dtype == np.float32
    transform = Transform(1.0, 1.0, IMAGE.shape[1], IMAGE.shape[0])
    (person,) = Group(layout)(FieldMaps(FrameKey("x", 0), heatmaps, pafs, 8, transform)).people
    np.testing.assert_allclose(person.keypoints[:, :2] / 8, people[0], atol=0.1)


@pytest.mark.parametrize("scales", [(), (0.5,), (1.0, 1.0), (1.0, 1.5), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_scales_without_sense_are_refused(scales: tuple[float, ...]) -> None:
    """Scales are different fractions, and the network input's own is among them."""
    with pytest.raises(SettingsError, match=r"network\.scales = "):
        EnsembleSettings(scales=scales)


def test_a_layout_that_is_one_sided_is_refused() -> None:
    """A limb without a counterpart on the other side is an error that names it."""
    layout = LAYOUTS["openpose-18"]
    lopsided = dataclasses.replace(layout, limbs=(*layout.limbs[:-1], (5, 16)))
    with pytest.raises(ValueError, match="no limb that mirrors right_shoulder-right_ear"):
        mirrored_pafs(lopsided)


def test_limbs_that_are_written_the_other_way_round_are_known() -> None:
    """Where one side's limb runs the other way, its field is taken with the opposite sign."""
    layout = LAYOUTS["openpose-15"]
    turned = dataclasses.replace(layout, limbs=tuple(limb[::-1] if limb == (5, 6) else limb for limb in layout.limbs))
    channels, signs = mirrored_pafs(turned)

    x, y = layout.paf_channels[layout.limbs.index((2, 3))]
    other_x, other_y = layout.paf_channels[layout.limbs.index((5, 6))]
    assert (channels[x], channels[y], signs[x], signs[y]) == (other_x, other_y, 1, -1)
    assert (channels[other_x], channels[other_y], signs[other_x], signs[other_y]) == (x, y, 1, -1)
