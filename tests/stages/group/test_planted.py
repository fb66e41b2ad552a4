"""Planted people, crossing, cropped and incomplete, are found again exactly."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from posestream.models.layout import LAYOUTS, Layout
from posestream.stages.group.group import Group

from .test_group import assert_same_people, crowd, planted

#: Scenes of planted people for each layout; `POSESTREAM_SCENES` asks for more, and for others each time.
FEW_SCENES = 40
SCENES = int(os.environ.get("POSESTREAM_SCENES", FEW_SCENES))
#: So much of a limb's own field, on the way to a joint that is not the limb's, leaves nothing to tell them by.
STRAY_FIELD = 0.8


def least_distance(people: np.ndarray) -> float:
    """Give the least distance of two keypoints of the same part, in cells."""
    away = np.hypot(*np.moveaxis(people[:, None] - people[None], -1, 0))
    away[np.arange(len(people)), np.arange(len(people))] = np.inf
    return float(np.nanmin(away, initial=np.inf))


def has_stray_joint(layout: Layout, people: np.ndarray, pafs: np.ndarray) -> bool:
    """True where a joint without its limb's other end is joined to somebody else's by the field of another limb.

    Such a joint lies on or in line with that limb, and all that is known of it, its limb's field, says that it is the
    limb's end.
    """
    for (start, end), channels in zip(layout.limbs, layout.paf_channels, strict=True):
        field = pafs[list(channels)]
        for one, other in itertools.permutations(range(len(people)), 2):
            ends = people[one, [start, end]], people[other, [start, end]]
            if np.isnan(ends[0][0, 0]) or np.isnan(ends[1][1, 0]) or np.isfinite([ends[0][1, 0], ends[1][0, 0]]).all():
                continue
            if field_between(field, ends[0][0], ends[1][1]) > STRAY_FIELD:
                return True
    return False


def field_between(field: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Give the mean of a 2×h×w field along the way between two points in cells, taken from the nearest cells."""
    way = end - start
    column, row = np.floor(start + np.linspace(0, 1, 50)[:, None] * way).astype(int).T
    return float((way @ field[:, row, column]).mean() / max(np.hypot(*way), 1e-6))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@settings(max_examples=SCENES, deadline=None, derandomize=SCENES == FEW_SCENES)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5), missing=st.sampled_from([0.0, 0.1, 0.3]))
def test_planted_people_are_found_again_exactly(name: str, seed: int, count: int, missing: float) -> None:
    """People whose joints of a part are three cells apart come back whole, crossing, cropped or incomplete."""
    layout = LAYOUTS[name]
    people = crowd(layout, seed, count, missing)
    assume(len(people) and least_distance(people) >= 3)
    maps = planted(layout, people)
    assume(not has_stray_joint(layout, people, maps.pafs_chw))

    poses = Group(layout)(maps)

    assert_same_people(poses, people, within_map=0.5)
    assert not poses.truncated
