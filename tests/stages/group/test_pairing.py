"""Pairing: whose limb is whose where the fields alone do not say it."""

from __future__ import annotations

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.group.group import Group
from posestream.stages.group.synthetic import standing_person

from .test_group import SIZE, assert_same_people, crowd, planted


@pytest.mark.parametrize(
    ("figures", "apart"), [(3, (0, 3.0)), (3, (0, 3.5)), (3, (3.0, 0)), (2, (0, 4.3)), (2, (0, 5.0))], ids=str
)
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_equal_figures_in_each_other_are_told_apart(name: str, figures: int, apart: tuple[float, float]) -> None:
    """Equal figures a few cells apart, whose limbs lie on each other, come back whole whatever their size."""
    layout = LAYOUTS[name]
    for tall in range(8, 21):
        first = standing_person(layout) * np.float32(tall) + np.float32([22.3, 2.2])
        people = np.stack([first + number * np.float32(apart) for number in range(figures)])
        assert np.nanmax(people[:, :, 1]) < SIZE[0]

        assert_same_people(Group(layout)(planted(layout, people)), people, within_map=0.5)


@pytest.mark.parametrize(
    ("name", "seed", "count", "missing"),
    [
        ("openpose-18", 168, 4, 0.0),  # overlapping limbs
        ("openpose-18", 423, 4, 0.0),
        ("openpose-18", 1504501252, 2, 0.3),  # a neck on another one's way to the hip
        ("openpose-15", 117, 3, 0.0),  # limbs in one line
        ("openpose-15", 1177749226, 5, 0.1),  # two limbs for which another's long one stands
        ("body-25", 144, 5, 0.0),
        ("openpose-18", 20, 1, 0.3),  # three keypoints within a cell
        ("body-25", 2697581253, 4, 0.3),
    ],
)
def test_people_who_were_lost_once_are_found(name: str, seed: int, count: int, missing: float) -> None:
    """Overlapping limbs, limbs in one line, and people of three keypoints within a cell."""
    layout = LAYOUTS[name]
    people = crowd(layout, seed, count, missing)

    assert_same_people(Group(layout)(planted(layout, people)), people, within_map=0.5)
