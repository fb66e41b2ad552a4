"""Grouping: what it promises of any field maps."""

from __future__ import annotations

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.errors import SettingsError
from posestream.stages.group import Group, GroupSettings
from posestream.stages.items import FieldMaps, FrameKey, Transform

LAYOUT = LAYOUTS["openpose-18"]


def field_maps(heatmaps: np.ndarray, pafs: np.ndarray) -> FieldMaps:
    """Give maps of a picture that has eight pixels a cell."""
    _, height, width = heatmaps.shape
    return FieldMaps(FrameKey("test", 0), heatmaps, pafs, 8, Transform(1.0, 1.0, width * 8, height * 8))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, np.nan, np.inf, -np.inf])
def test_constant_maps_are_survived(value: float) -> None:
    """Maps of one value, be it not a number, give no crowd and no exception."""
    maps = field_maps(np.full((19, 32, 57), value, np.float32), np.full((38, 32, 57), value, np.float32))

    poses = Group(LAYOUT)(maps)

    assert len(poses.people) <= 1


def test_noise_is_bounded_and_says_so() -> None:
    """A map full of noise stays within the bounds and is marked as truncated."""
    rng = np.random.default_rng(1)
    maps = field_maps(rng.random((19, 62, 90), np.float32), rng.normal(size=(38, 62, 90)).astype(np.float32))

    poses = Group(LAYOUT, GroupSettings(most_people=5, most_peaks_per_part=20))(maps)

    assert len(poses.people) <= 5
    assert poses.truncated


@pytest.mark.parametrize("setting", [{"peak_threshold": 1.5}, {"limb_agreement": -0.1}, {"most_people": 0}])
def test_settings_without_sense_are_refused(setting: dict[str, float]) -> None:
    """A setting outside its range is an error that names it."""
    with pytest.raises(SettingsError, match=f"group.{next(iter(setting))}"):
        GroupSettings(**setting)  # type: ignore[arg-type]
