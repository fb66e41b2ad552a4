"""Group: field maps → people, the decoder of part affinity fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.assemble import assemble
from posestream.stages.errors import SettingsError
from posestream.stages.items import FieldMaps, Person, Poses, frozen
from posestream.stages.limbs import LimbScorer
from posestream.stages.peaks import PeakFinder, Peaks

__all__ = ["Group", "GroupSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How sure grouping must be, and how much it may find."""

    #: Least height of a heatmap's maximum that may be a keypoint, 0…1.
    peak_threshold: float = 0.05
    #: Least part of the field along a limb for a sample to agree with it, 0…1.
    limb_threshold: float = 0.05
    #: Fraction of a limb's samples that must agree, 0…1.
    limb_agreement: float = 0.6
    #: Keypoints a person has at least.
    least_parts: int = 2
    #: Score a person has at least, 0…1.
    least_score: float = 0.0
    #: People in a picture at most; the best are kept.
    most_people: int = 128
    #: Candidates for one keypoint in a picture at most; the highest are kept.
    most_peaks_per_part: int = 128
    #: True: take each heatmap's highest point, for at most one person; fields are not asked.
    single_person: bool = False

    def __post_init__(self) -> None:
        for name in ("peak_threshold", "limb_threshold", "limb_agreement", "least_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"group.{name} = {getattr(self, name)} is outside 0…1")
        for name in ("least_parts", "most_people", "most_peaks_per_part"):
            if getattr(self, name) < 1:
                raise SettingsError(f"group.{name} = {getattr(self, name)} is not at least 1")


class Group:
    """Finds everybody in a frame's field maps. Deterministic: the same maps give the same people."""

    def __init__(self, layout: Layout, settings: GroupSettings | None = None) -> None:
        self._layout = layout
        self._settings = settings or GroupSettings()
        self._find_peaks = PeakFinder(self._settings.peak_threshold, self._settings.most_peaks_per_part)
        self._score_limbs = LimbScorer(layout, self._settings.limb_threshold, self._settings.limb_agreement)

    def __call__(self, maps: FieldMaps) -> Poses:
        """Group one frame's keypoints into people."""
        heatmaps = _finite(maps.heatmaps_chw[: len(self._layout.keypoints)])
        if self._settings.single_person:
            peaks = self._find_peaks.highest(heatmaps)
            members = [np.arange(len(peaks.part))]
        else:
            peaks = self._find_peaks(heatmaps)
            members = assemble(peaks, self._score_limbs(_finite(maps.pafs_chw), peaks))
        return self._poses(maps, peaks, members)

    def _poses(self, maps: FieldMaps, peaks: Peaks, members: list[NDArray[np.intp]]) -> Poses:
        settings = self._settings
        keypoints, inside = self._keypoints(maps, peaks)
        people = []
        for numbers in members:
            kept = numbers[inside[numbers]]
            if len(kept) < settings.least_parts:
                continue
            person = np.full((len(self._layout.keypoints), 3), np.nan, np.float32)
            person[peaks.part[kept]] = keypoints[kept]
            score = float(keypoints[kept, 2].sum() / len(self._layout.keypoints))
            if score >= settings.least_score:
                people.append(Person(frozen(person), score))
        people.sort(key=lambda person: -person.score)
        truncated = peaks.truncated or len(people) > settings.most_people
        return Poses(maps.key, tuple(people[: settings.most_people]), truncated)

    def _keypoints(self, maps: FieldMaps, peaks: Peaks) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give the candidates as N×3 in source pixels, and which are not in the padding.

        A maximum less than a cell outside the picture belongs to something at its edge, and is put there.
        """
        transform, stride = maps.transform, maps.stride
        x = peaks.x_map * (stride / transform.scale_x)
        y = peaks.y_map * (stride / transform.scale_y)
        inside = (x < transform.width_px + stride / transform.scale_x) & (
            y < transform.height_px + stride / transform.scale_y
        )
        x = np.clip(x, 0, transform.width_px)
        y = np.clip(y, 0, transform.height_px)
        return np.stack([x, y, peaks.score], axis=1).astype(np.float32), inside


def _finite(maps: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give maps as C-contiguous float32 without NaN and infinities, which a broken network gives; they become 0."""
    plain = np.ascontiguousarray(maps, np.float32)
    # One NaN or infinity makes the sum one too, and the sum is much cheaper than a look at each.
    if not np.isfinite(plain.sum()):
        plain = np.nan_to_num(plain, nan=0.0, posinf=0.0, neginf=0.0)
    return plain
