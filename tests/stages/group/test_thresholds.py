"""What each setting of grouping decides by default: cases on either side of it, by both implementations."""

from __future__ import annotations

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.group.synthetic import planted_maps
from posestream.stages.items import FieldMaps, FrameKey, Poses, Transform

LAYOUT = LAYOUTS["openpose-18"]
SIZE = (32, 57)
HIP, KNEE = LAYOUT.keypoints.index("right_hip"), LAYOUT.keypoints.index("right_knee")
LIMB = LAYOUT.limbs.index((HIP, KNEE))
#: A planted Gaussian is 1 high; so high is its maximum, a quarter of a cell off on both axes, after zoom and smoothing.
HEIGHT = 0.8317
#: Both ends lie at cells' centres, 18 apart, and so do a limb's eight samples: on rows 6, 8 … 20.
TOP, BOTTOM = (20.5, 4.5), (20.5, 22.5)

both = pytest.mark.parametrize("implementation", ["auto", "numpy"])


def thigh(height: float = 1.0, field: float = 1.0, last_row: int = 31) -> FieldMaps:
    """Give maps of one right thigh: its ends' heights, and its field's strength down to a row."""
    person = np.full((1, len(LAYOUT.keypoints), 2), np.nan, np.float32)
    person[0, HIP], person[0, KNEE] = TOP, BOTTOM
    heatmaps, pafs = planted_maps(LAYOUT, person, SIZE)
    pafs[:] = 0
    pafs[LAYOUT.paf_channels[LIMB][1], : last_row + 1] = field
    return FieldMaps(FrameKey("a", 0), heatmaps * np.float32(height), pafs, 8, Transform(1.0, 1.0, 456, 256))


def grouped(maps: FieldMaps, implementation: str, **settings: float) -> Poses:
    """Give the people, by default settings but for these."""
    return Group(LAYOUT, GroupSettings(implementation=implementation, **settings))(maps)  # type: ignore[arg-type]


@both
def test_a_maximum_is_smoothed_by_so_much(implementation: str) -> None:
    """A planted keypoint's score is its Gaussian's top after cubic zoom and a Gaussian of 0.75 zoomed cells."""
    (person,) = grouped(thigh(), implementation).people

    np.testing.assert_allclose(person.keypoints[[HIP, KNEE], 2], HEIGHT, atol=0.001)


@both
@pytest.mark.parametrize(("height", "is_there"), [(0.0303, True), (0.0297, False)])
@pytest.mark.parametrize("is_single", [False, True])
def test_keypoints_are_higher_than_0_03(implementation: str, height: float, is_there: bool, is_single: bool) -> None:
    """Maxima above 0.03 may be keypoints, lower ones not."""
    maps = thigh(height / HEIGHT)

    assert len(grouped(maps, implementation, least_score=0, single_person=is_single).people) == is_there


@both
@pytest.mark.parametrize(("field", "is_there"), [(0.0202, True), (0.0198, False)])
def test_limbs_have_a_field_above_0_02(implementation: str, field: float, is_there: bool) -> None:
    """Samples agree with a limb where its field is above 0.02."""
    assert len(grouped(thigh(field=field), implementation, least_score=0).people) == is_there


@both
@pytest.mark.parametrize(("last_row", "is_there"), [(14, True), (13, False)])
def test_five_of_eight_samples_agree(implementation: str, last_row: int, is_there: bool) -> None:
    """A field under five of a limb's eight samples makes it one; under four, the middle among them, it does not."""
    assert len(grouped(thigh(last_row=last_row), implementation).people) == is_there


@both
@pytest.mark.parametrize(("score", "is_there"), [(0.0101, True), (0.0099, False)])
def test_people_have_a_score_above_0_01(implementation: str, score: float, is_there: bool) -> None:
    """Who scores less than 0.01 is left out: here one limb of all, of a person 18 cells high."""
    field = score * len(LAYOUT.limbs) * (18 + 8) / 18

    poses = grouped(thigh(field=field), implementation)

    assert len(poses.people) == is_there
    assert all(person.score == pytest.approx(score, abs=2e-5) for person in poses.people)


@both
def test_a_person_counts_as_two_cells_high_at_least(implementation: str) -> None:
    """The score of a limb of one cell is that of one of two cells: 2 / (2 + 8) of a limb of all."""
    maps = thigh()
    heatmaps = maps.heatmaps_chw.copy()
    heatmaps[KNEE, 1:] = maps.heatmaps_chw[HIP, :-1]
    near = FieldMaps(maps.key, heatmaps, maps.pafs_chw, 8, maps.transform)

    (person,) = grouped(near, implementation).people

    assert person.score == pytest.approx(0.2 / len(LAYOUT.limbs), abs=1e-4)


@both
@pytest.mark.parametrize(("people", "is_truncated"), [(128, False), (129, True)])
@pytest.mark.parametrize("bound", ["most_people", "most_peaks_per_part"])
def test_bounds_are_128(implementation: str, bound: str, people: int, is_truncated: bool) -> None:
    """Of 129 people or candidates 128 are kept, and it is said; of 128 nobody is left out."""
    other = {"most_people": "most_peaks_per_part", "most_peaks_per_part": "most_people"}[bound]
    standing = np.full((people, len(LAYOUT.keypoints), 2), np.nan, np.float32)
    place = np.arange(people)
    standing[:, HIP] = np.stack([4.5 + 8 * (place % 17), 4.5 + 12 * (place // 17)], axis=1)
    standing[:, KNEE] = standing[:, HIP] + np.float32((0, 6))
    maps = planted_maps(LAYOUT, standing, (100, 140))

    poses = grouped(
        FieldMaps(FrameKey("a", 0), *maps, 8, Transform(1.0, 1.0, 1120, 800)), implementation, **{other: 200}
    )

    assert len(poses.people) == 128
    assert poses.truncated == is_truncated
