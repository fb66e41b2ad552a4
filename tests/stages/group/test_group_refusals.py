"""What grouping does not take: maps of another layout, and settings of other types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.errors import SettingsError
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.items import FieldMaps, FrameKey, Transform

LAYOUT = LAYOUTS["openpose-18"]


def grouped(heatmaps: int, pafs: int, width: int = 57) -> int:
    """Group empty maps of so many channels, and count the people."""
    maps = (np.zeros((heatmaps, 32, 57), np.float32), np.zeros((pafs, 32, width), np.float32))
    return len(Group(LAYOUT)(FieldMaps(FrameKey("a", 0), *maps, 8, Transform(1.0, 1.0, 456, 256))).people)


@pytest.mark.parametrize(
    ("heatmaps", "pafs", "width"), [(17, 38, 57), (20, 38, 57), (26, 52, 57), (19, 36, 57), (19, 40, 57), (19, 38, 56)]
)
def test_maps_of_another_layout_are_refused(heatmaps: int, pafs: int, width: int) -> None:
    """Too few channels, too many, and heatmaps and fields of two sizes are an error that names the layout."""
    with pytest.raises(ValueError, match="not those of layout openpose-18"):
        grouped(heatmaps, pafs, width)


@pytest.mark.parametrize("heatmaps", [18, 19])
def test_the_background_may_be_there_or_not(heatmaps: int) -> None:
    """Heatmaps are taken with the background, as networks give them, and without it."""
    assert grouped(heatmaps, 38) == 0


@pytest.mark.parametrize(
    "setting",
    [
        {"implementation": "x"},
        {"implementation": None},
        {"least_parts": 2.5},
        {"least_parts": 3.0},
        {"least_parts": True},
        {"least_parts": "3"},
        {"least_parts": 1},
        {"peak_threshold": 1.5},
        {"limb_agreement": -0.1},
        {"most_people": 0},
        {"most_people": 1001},
        {"most_peaks_per_part": float("nan")},
        {"peak_threshold": float("nan")},
        {"peak_threshold": "0.1"},
        {"limb_threshold": True},
        {"limb_agreement": None},
        {"least_score": float("inf")},
        {"single_person": 1},
        {"single_person": "no"},
    ],
    ids=str,
)
def test_settings_without_sense_are_refused(setting: dict[str, Any]) -> None:
    """A value of another type, outside its range or that is no number is an error that names the setting."""
    with pytest.raises(SettingsError, match=rf"group\.{next(iter(setting))} = "):
        GroupSettings(**setting)


def test_numbers_of_any_kind_are_taken() -> None:
    """Whole numbers for fractions and NumPy's numbers are taken, and do what Python's own do."""
    settings = GroupSettings(
        peak_threshold=0, least_score=np.float32(0.5), least_parts=np.int64(3), single_person=np.True_
    )

    assert settings == GroupSettings(peak_threshold=0.0, least_score=0.5, least_parts=3, single_person=True)
    assert all(type(value) in (int, float, bool, str) for value in (settings.least_parts, settings.single_person))
    assert Group(LAYOUT, settings)


def test_people_of_one_keypoint_are_nobody() -> None:
    """A person has two keypoints at least, and the error says why; a single person may have one."""
    with pytest.raises(SettingsError, match=r"group\.least_parts = 1: .* joined by limbs"):
        GroupSettings(least_parts=1)

    heatmaps = np.zeros((19, 32, 57), np.float32)
    heatmaps[3, 9:12, 19:22] = 0.5
    heatmaps[3, 10, 20] = 1
    maps = FieldMaps(FrameKey("a", 0), heatmaps, np.zeros((38, 32, 57), np.float32), 8, Transform(1, 1, 456, 256))
    (person,) = Group(LAYOUT, GroupSettings(least_parts=1, single_person=True))(maps).people
    assert np.flatnonzero(np.isfinite(person.keypoints[:, 0])).tolist() == [3]
