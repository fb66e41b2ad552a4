"""What lies in the letterbox's padding belongs to nobody, and takes nobody's place."""

from __future__ import annotations

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.group.settings import Implementation
from posestream.stages.group.synthetic import planted_maps, standing_person
from posestream.stages.items import FieldMaps, FrameKey, Transform

LAYOUT = LAYOUTS["openpose-18"]
SIZE = (32, 57)


def padded(left_map: float, picture_map: tuple[int, int]) -> FieldMaps:
    """Give maps of two people, of whom only the fainter stands in a picture of so many cells across and down."""
    people = np.stack([standing_person(LAYOUT) * np.float32(16) + np.float32([x, 4]) for x in (left_map, 44)])
    heatmaps, pafs = planted_maps(LAYOUT, people[:1], SIZE)
    others, other_pafs = planted_maps(LAYOUT, people[1:], SIZE)
    transform = Transform(1.0, 1.0, *(8 * cells for cells in picture_map))
    return FieldMaps(FrameKey("a", 0), np.maximum(0.6 * heatmaps, others), pafs + other_pafs, 8, transform)


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("implementation", ["auto", "numpy"])
def test_padding_takes_no_place(implementation: Implementation, is_single: bool) -> None:
    """With room for one candidate a part, the one in the picture is kept, though one in the padding is higher."""
    settings = GroupSettings(most_peaks_per_part=1, single_person=is_single, implementation=implementation)

    poses = Group(LAYOUT, settings)(padded(14, (32, 32)))

    (person,) = poses.people
    np.testing.assert_allclose(person.keypoints[:, :2] / 8, standing_person(LAYOUT) * 16 + (14, 4), atol=0.5)
    assert not poses.truncated


@pytest.mark.parametrize("implementation", ["auto", "numpy"])
@pytest.mark.parametrize(("beyond_map", "is_there"), [(0.95, True), (1.05, False)])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_pictures_edge_is_a_cell_away(
    implementation: Implementation, axis: int, beyond_map: float, is_there: bool
) -> None:
    """Up to a cell beyond the picture a keypoint is drawn in to its edge; further away it is not there."""
    person = standing_person(LAYOUT) * np.float32(16) + np.float32([20, 4])
    wrist = LAYOUT.keypoints.index("left_wrist")
    picture = [40, 30]
    picture[axis] = int(person[:, axis].max())
    person[wrist, axis] = picture[axis] + beyond_map
    others = np.arange(len(person)) != wrist
    person[others, axis] = np.minimum(person[others, axis], picture[axis])
    maps = FieldMaps(
        FrameKey("a", 0), *planted_maps(LAYOUT, person[None], SIZE), 8, Transform(1, 1, picture[0] * 8, picture[1] * 8)
    )

    (found,) = Group(LAYOUT, GroupSettings(implementation=implementation))(maps).people

    assert np.isfinite(found.keypoints[wrist, 0]) == is_there
    assert np.nanmax(found.keypoints[:, axis]) <= picture[axis] * 8
