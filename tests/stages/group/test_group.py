"""Grouping: what it promises of any field maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from posestream.models.layout import LAYOUTS, Layout
from posestream.stages.errors import SettingsError
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.group.synthetic import largest_connected, planted_maps, random_people
from posestream.stages.items import FieldMaps, FrameKey, Poses, Transform

LAYOUT = LAYOUTS["openpose-18"]
SIZE = (32, 57)
GOLDEN = Path(__file__).parent / "golden"


def field_maps(heatmaps: np.ndarray, pafs: np.ndarray, transform: Transform | None = None) -> FieldMaps:
    """Give maps of a picture that has eight pixels a cell."""
    _, height, width = heatmaps.shape
    transform = transform or Transform(1.0, 1.0, width * 8, height * 8)
    return FieldMaps(FrameKey("test", 0), heatmaps, pafs, 8, transform)


def planted(layout: Layout, people: np.ndarray, **more: Any) -> FieldMaps:
    """Give the maps of people in cells."""
    return field_maps(*planted_maps(layout, people, SIZE, **more))


def crowd(layout: Layout, seed: int, count: int = 4, missing: float = 0.0, apart: float = 3.0) -> np.ndarray:
    """Give people whose joints of a part are far apart, and of whom some joints are missing."""
    rng = np.random.default_rng(seed)
    people = random_people(layout, rng, count, SIZE, (9.0, 28.0), apart)
    for person in people:
        person[rng.random(len(person)) < missing] = np.nan
        person[~largest_connected(layout, np.isfinite(person[:, 0]))] = np.nan
    return people[np.isfinite(people[:, :, 0]).sum(axis=1) >= 3]


def keypoints_of(poses: Poses) -> np.ndarray:
    """Give everybody's N×K×3."""
    return np.stack([person.keypoints for person in poses.people])


def assert_same_people(poses: Poses, people_map: np.ndarray, within_map: float) -> None:
    """Each planted person came back with exactly their joints, and nobody else did."""
    assert len(poses.people) == len(people_map)
    found = keypoints_of(poses)[:, :, :2] / 8
    for person in people_map:
        is_same = (np.isnan(found[:, :, 0]) == np.isnan(person[:, 0])).all(axis=1)
        away = np.nan_to_num(np.hypot(*np.moveaxis(found - person, -1, 0))).max(axis=1)
        assert (is_same & (away <= within_map)).sum() == 1


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_channels_does_not_matter(seed: int) -> None:
    """A network that numbers its parts, limbs and fields otherwise finds the same people."""
    rng = np.random.default_rng(seed)
    part = rng.permutation(len(LAYOUT.keypoints))
    limb = rng.permutation(len(LAYOUT.limbs))
    channel = rng.permutation(LAYOUT.paf_count)
    number, place = np.argsort(part), np.argsort(channel)
    other = Layout(
        "other",
        tuple(LAYOUT.keypoints[i] for i in part),
        tuple((int(number[LAYOUT.limbs[i][0]]), int(number[LAYOUT.limbs[i][1]])) for i in limb),
        tuple((int(place[LAYOUT.paf_channels[i][0]]), int(place[LAYOUT.paf_channels[i][1]])) for i in limb),
    )
    maps = planted(LAYOUT, crowd(LAYOUT, seed), noise=0.01, rng=rng)
    heatmaps = np.concatenate([maps.heatmaps_chw[part], maps.heatmaps_chw[-1:]])

    expected = keypoints_of(Group(LAYOUT)(maps))
    found = keypoints_of(Group(other)(field_maps(heatmaps, maps.pafs_chw[channel])))

    np.testing.assert_allclose(found[:, number], expected, atol=1e-3)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(430, 456),
    height=st.integers(240, 256),
    zoom=st.floats(0.2, 1.0),
)
def test_coordinates_come_back_through_the_letterbox(seed: int, width: int, height: int, zoom: float) -> None:
    """Keypoints are in source pixels, a quarter of a pixel from where they were planted."""
    transform = Transform(width / round(width * zoom), height / round(height * zoom), *_rounded(width, height, zoom))
    people = random_people(LAYOUT, np.random.default_rng(seed), 1, (height // 8, width // 8), (14.0, 28.0))
    people[(people < 2).any(axis=2) | (people > (width // 8 - 2, height // 8 - 2)).any(axis=2)] = np.nan
    people[0, ~largest_connected(LAYOUT, np.isfinite(people[0, :, 0]))] = np.nan
    assume(np.isfinite(people[0, :, 0]).sum() >= 4)
    maps = planted_maps(LAYOUT, people, SIZE)

    (person,) = Group(LAYOUT)(field_maps(*maps, transform)).people

    expected = people[0] * 8 / (transform.scale_x, transform.scale_y)
    np.testing.assert_allclose(person.keypoints[:, :2], expected, atol=0.25)


def _rounded(width: int, height: int, zoom: float) -> tuple[int, int]:
    return round(width * zoom), round(height * zoom)


def test_keypoints_do_not_leave_the_picture() -> None:
    """What is found in the letterbox's padding is put at the picture's edge, or left out a cell beyond it."""
    heatmaps, pafs = planted_maps(LAYOUT, crowd(LAYOUT, 5, count=5), SIZE)
    transform = Transform(0.5, 0.5, 2 * 300 + 5, 2 * 200 + 5)

    poses = Group(LAYOUT)(field_maps(heatmaps, pafs, transform))

    xy = keypoints_of(poses)[:, :, :2]
    xy = xy[np.isfinite(xy[:, :, 0])]
    assert len(xy)
    assert (xy >= 0).all()
    assert (xy <= (transform.width_px, transform.height_px)).all()
    # Nothing was drawn in from further than a cell.
    planted_xy = crowd(LAYOUT, 5, count=5).reshape(-1, 2) * 16
    edge = planted_xy[np.isfinite(planted_xy[:, 0])]
    assert len(xy) <= (edge < (transform.width_px + 16 + 4, transform.height_px + 16 + 4)).all(axis=1).sum()


def test_items_are_as_promised() -> None:
    """Keypoints are read-only float32, NaN as a whole where not found; people come best first, scores in 0…1."""
    poses = Group(LAYOUT)(planted(LAYOUT, crowd(LAYOUT, 3, missing=0.2), noise=0.02))

    scores = [person.score for person in poses.people]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 and np.float32(score) == score for score in scores)
    for person in poses.people:
        assert person.keypoints.dtype == np.float32
        assert not person.keypoints.flags.writeable
        assert (np.isnan(person.keypoints).sum(axis=1) % 3 == 0).all()
        assert ((person.keypoints[:, 2] >= 0) & (person.keypoints[:, 2] <= 1) | np.isnan(person.keypoints[:, 2])).all()


def test_same_maps_give_the_same_people() -> None:
    """Grouping is deterministic, to the last bit."""
    maps = planted(LAYOUT, crowd(LAYOUT, 9), noise=0.05)

    first, second = Group(LAYOUT)(maps), Group(LAYOUT)(maps)

    np.testing.assert_array_equal(keypoints_of(first), keypoints_of(second))
    assert [person.score for person in first.people] == [person.score for person in second.people]


def test_half_precision_maps_are_taken() -> None:
    """float16 maps, as some engines give, give the same people as float32 ones."""
    people = crowd(LAYOUT, 2)
    maps = planted(LAYOUT, people)
    half = field_maps(maps.heatmaps_chw.astype(np.float16), maps.pafs_chw.astype(np.float16))

    assert_same_people(Group(LAYOUT)(half), people, within_map=0.5)


def test_single_person_takes_each_heatmaps_maximum() -> None:
    """With `single_person` there is one person of the highest maxima, whatever the fields say."""
    people = crowd(LAYOUT, 11, count=1)
    maps = planted(LAYOUT, people)
    group = Group(LAYOUT, GroupSettings(single_person=True))

    poses = group(field_maps(maps.heatmaps_chw, np.zeros_like(maps.pafs_chw)))

    assert_same_people(poses, people, within_map=0.5)


def test_single_person_finds_nobody_in_empty_maps() -> None:
    """Without anything above the threshold `single_person` gives nobody."""
    maps = field_maps(np.zeros((19, *SIZE), np.float32), np.zeros((38, *SIZE), np.float32))

    assert Group(LAYOUT, GroupSettings(single_person=True))(maps).people == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 57), (2, 3)])
def test_the_smallest_maps_are_taken(size: tuple[int, int]) -> None:
    """Maps of a cell or a row are grouped as any."""
    rng = np.random.default_rng(0)
    maps = field_maps(rng.random((19, *size), np.float32), rng.random((38, *size), np.float32))

    assert len(Group(LAYOUT)(maps).people) <= size[0] * size[1] * 18


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, np.nan, np.inf, -np.inf])
def test_constant_maps_are_survived(value: float) -> None:
    """Maps of one value, be it not a number, have no maxima but the edge's corners, and end in no exception."""
    maps = field_maps(np.full((19, *SIZE), value, np.float32), np.full((38, *SIZE), value, np.float32))

    assert len(Group(LAYOUT)(maps).people) <= 4 * len(LAYOUT.keypoints) // 2


def test_some_nan_hide_only_themselves() -> None:
    """A few cells that are not numbers do not hide people elsewhere."""
    people = crowd(LAYOUT, 3, count=1)
    maps = planted(LAYOUT, people)
    heatmaps, pafs = maps.heatmaps_chw.copy(), maps.pafs_chw.copy()
    corner = (slice(0, 2), slice(-2, None))
    heatmaps[:, *corner] = np.nan
    pafs[:, *corner] = np.inf

    assert_same_people(Group(LAYOUT)(field_maps(heatmaps, pafs)), people, within_map=0.5)


def test_noise_is_bounded_and_says_so() -> None:
    """A map full of noise stays within the bounds and is marked as truncated."""
    rng = np.random.default_rng(1)
    maps = field_maps(rng.random((19, 62, 90), np.float32), rng.normal(size=(38, 62, 90)).astype(np.float32))

    poses = Group(LAYOUT, GroupSettings(most_people=5, most_peaks_per_part=20))(maps)

    assert len(poses.people) <= 5
    assert poses.truncated


def test_bounds_keep_the_best() -> None:
    """Of more people than are asked for the best are kept; of more maxima, the highest."""
    people = crowd(LAYOUT, 21, count=4)
    maps = planted(LAYOUT, people, noise=0.01)
    everybody = Group(LAYOUT)(maps)

    two = Group(LAYOUT, GroupSettings(most_people=2))(maps)
    one_peak = Group(LAYOUT, GroupSettings(most_peaks_per_part=1))(maps)

    np.testing.assert_array_equal(keypoints_of(two), keypoints_of(everybody)[:2])
    assert not everybody.truncated
    assert two.truncated
    assert one_peak.truncated
    best = np.fmax.reduce(keypoints_of(everybody)[:, :, 2])
    kept = np.fmax.reduce(keypoints_of(one_peak)[:, :, 2])
    np.testing.assert_array_equal(kept[np.isfinite(kept)], best[np.isfinite(kept)])


def test_maps_beyond_all_sizes_are_refused() -> None:
    """Maps that no sensible network input gives are an error that says what to do."""
    maps = field_maps(np.zeros((19, 5000, 1), np.float32), np.zeros((38, 5000, 1), np.float32))

    with pytest.raises(ValueError, match="smaller net_height"):
        Group(LAYOUT)(maps)


def test_more_parts_than_a_person_has_are_refused() -> None:
    """A setting under which nobody could ever be found is an error that says so."""
    layout = LAYOUTS["openpose-18"]
    assert Group(layout, GroupSettings(least_parts=18))
    with pytest.raises(SettingsError, match="least_parts = 19: people of openpose-18 have 18 keypoints"):
        Group(layout, GroupSettings(least_parts=19))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_nothing_changes_unseen(name: str) -> None:
    """People of noisy maps are those of the golden file; a change of grouping must renew it on purpose."""
    layout = LAYOUTS[name]
    maps = planted(layout, crowd(layout, 42, count=6, missing=0.1, apart=1.5), noise=0.01)
    expected = json.loads((GOLDEN / f"group-{name}.json").read_text("utf-8"))

    poses = Group(layout)(maps)

    assert len(poses.people) == len(expected)
    for person, (score, keypoints) in zip(poses.people, expected, strict=True):
        assert person.score == pytest.approx(score, abs=1e-3)
        np.testing.assert_allclose(person.keypoints, np.array(keypoints, np.float32), atol=0.02)
