"""Pictures too small to show anybody."""

from __future__ import annotations

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.group.group import Group
from posestream.stages.items import FieldMaps, FrameKey, Transform


@pytest.mark.parametrize(("side_px", "has_people"), [(1, False), (7, False), (64, True)])
def test_nobody_is_seen_in_a_few_pixels(side_px: int, has_people: bool) -> None:
    """Whatever a network makes of an enlarged picture of a few pixels, nobody is in it."""
    layout = LAYOUTS["openpose-18"]
    rng = np.random.default_rng(0)
    heatmaps = rng.random((layout.heatmap_count, 32, 32), np.float32)
    pafs = rng.standard_normal((layout.paf_count, 32, 32), np.float32)
    scale = 256 / side_px
    maps = FieldMaps(FrameKey("a", 0), heatmaps, pafs, 8, Transform(scale, scale, side_px, side_px))
    assert bool(Group(layout)(maps).people) is has_people
