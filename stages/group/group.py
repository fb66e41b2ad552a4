"""Group: field maps → people, the decoder of part affinity fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.errors import SettingsError
from posestream.stages.group.assemble import assemble
from posestream.stages.group.limbs import Connections, LimbScorer
from posestream.stages.group.peaks import PeakFinder, Peaks
from posestream.stages.items import FieldMaps, Person, Poses, frozen

__all__ = ["Group", "GroupSettings"]

#: The extent (diagonal of the box) of a person whose score is halved for being small, in cells.
SEEN_HALF_MAP = 8.0
#: Upper bound of the bounds: time and memory grow with the square of the candidates per part.
MOST = 1000
#: OpenCV's pictures may be sampled if their sides are below this; the fields are sampled as one tall picture.
OPENCV_SIDE = 32767


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How sure grouping must be, and how much it may find."""

    #: Least height of a heatmap's maximum that may be a keypoint, 0…1.
    peak_threshold: float = 0.03
    #: Least part of the field along a limb for a sample to agree with it, 0…1.
    limb_threshold: float = 0.02
    #: Fraction of a limb's samples that must agree, 0…1.
    limb_agreement: float = 0.6
    #: Keypoints a person has at least.
    least_parts: int = 2
    #: Score a person has at least, 0…1.
    least_score: float = 0.01
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
            if not 1 <= getattr(self, name) <= MOST:
                raise SettingsError(f"group.{name} = {getattr(self, name)} is outside 1…{MOST}")


#: In a picture with a shorter side, in pixels, nobody can be seen, whatever a network makes of it.
_LEAST_SIDE_PX = 8


class Group:
    """Finds everybody in a frame's field maps. Deterministic: the same maps give the same people.

    After Cao et al., "OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", 2019, with
    changes that docs/grouping.md gives the reasons and the figures for. It may be used by several threads at once.
    """

    def __init__(self, layout: Layout, settings: GroupSettings | None = None) -> None:
        self._layout = layout
        self._settings = settings or GroupSettings()
        self._find_peaks = PeakFinder(self._settings.peak_threshold, self._settings.most_peaks_per_part)
        self._score_limbs = LimbScorer(layout, self._settings.limb_threshold, self._settings.limb_agreement)

    def __call__(self, maps: FieldMaps) -> Poses:
        """Group one frame's keypoints into people.

        Raises:
            ValueError: the maps' channels are not the layout's, or there are more cells than OpenCV can sample.
        """
        self._check(maps)
        if min(maps.transform.width_px, maps.transform.height_px) < _LEAST_SIDE_PX:
            return Poses(maps.key, ())
        heatmaps = _finite(maps.heatmaps_chw[: len(self._layout.keypoints)])
        if self._settings.single_person:
            return self._single(maps, self._find_peaks.highest(heatmaps))
        peaks = _inside(self._find_peaks(heatmaps), maps)
        connections = self._score_limbs(_finite(maps.pafs_chw), peaks)
        person_of, count = assemble(peaks, connections)
        found = _People(self._layout, peaks, person_of, count)
        return self._poses(maps, found, found.scores(connections), is_truncated=peaks.truncated)

    def _single(self, maps: FieldMaps, peaks: Peaks) -> Poses:
        """Give everything found to one person, whose score is the mean height over all parts."""
        peaks = _inside(peaks, maps)
        found = _People(self._layout, peaks, np.zeros(len(peaks.part), np.intp), min(len(peaks.part), 1))
        score = np.full(found.count, peaks.score.sum() / len(self._layout.keypoints))
        return self._poses(maps, found, score, is_truncated=False)

    def _poses(self, maps: FieldMaps, found: _People, scores: NDArray[np.floating], *, is_truncated: bool) -> Poses:
        settings = self._settings
        kept = np.flatnonzero((found.sizes >= settings.least_parts) & (scores >= settings.least_score))
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        is_truncated |= len(kept) > settings.most_people
        kept = kept[: settings.most_people]
        keypoints = frozen(found.keypoints(maps)[kept])
        # As float32, which is how they travel, so that a score is the same wherever it is read.
        people = tuple(map(Person, keypoints, scores[kept].astype(np.float32).tolist()))
        return Poses(maps.key, people, is_truncated)

    def _check(self, maps: FieldMaps) -> None:
        least = (len(self._layout.keypoints), self._layout.paf_count)
        have = (len(maps.heatmaps_chw), len(maps.pafs_chw))
        if have[0] < least[0] or have[1] < least[1] or maps.heatmaps_chw.shape[1:] != maps.pafs_chw.shape[1:]:
            shapes = f"{maps.heatmaps_chw.shape} and {maps.pafs_chw.shape}"
            raise ValueError(f"field maps of {shapes} are not those of layout {self._layout.name}")
        _, height, width = maps.pafs_chw.shape
        if max(len(maps.pafs_chw) * height, width) >= OPENCV_SIDE:
            raise ValueError(f"field maps of {height}×{width} cells are too large: take a smaller net_height")


class _People:
    """The candidates of each person, as tables."""

    def __init__(self, layout: Layout, peaks: Peaks, person_of: NDArray[np.intp], count: int) -> None:
        self.count = count
        self._layout = layout
        self._peaks = peaks
        self._person_of = person_of
        self._used = np.flatnonzero(person_of >= 0)
        self._person = person_of[self._used]
        #: How many keypoints each person has.
        self.sizes = np.bincount(self._person, minlength=count)

    def scores(self, connections: Connections) -> NDArray[np.float64]:
        """Give each person's score, 0…1: the limbs' fields summed, over all limbs, times how well its size is seen.

        The sum counts how much of a person was found and how surely. A keypoint's error is a fraction of a cell
        whatever the person's size, so a person of few cells is found less exactly; one of SEEN_HALF_MAP cells
        counts half.
        """
        person = self._person_of[connections.start]
        within = np.flatnonzero((person >= 0) & (person == self._person_of[connections.end]))
        fields = np.bincount(person[within], connections.score[within], minlength=self.count)
        extent = np.hypot(self._extent(self._peaks.x_map), self._extent(self._peaks.y_map))
        return np.minimum(fields / len(self._layout.limbs), 1) * extent / (extent + SEEN_HALF_MAP)

    def keypoints(self, maps: FieldMaps) -> NDArray[np.float32]:
        """Give count×K×3 keypoints in source pixels, not beyond the picture."""
        transform, stride = maps.transform, maps.stride
        keypoints = np.full((self.count, len(self._layout.keypoints), 3), np.nan, np.float32)
        part = self._peaks.part[self._used]
        for axis, (position, scale, size) in enumerate(
            (
                (self._peaks.x_map, transform.scale_x, transform.width_px),
                (self._peaks.y_map, transform.scale_y, transform.height_px),
            )
        ):
            keypoints[self._person, part, axis] = np.clip(position[self._used] * (stride / scale), 0, size)
        keypoints[self._person, part, 2] = self._peaks.score[self._used]
        return keypoints

    def _extent(self, position_map: NDArray[np.float32]) -> NDArray[np.float32]:
        low = np.full(self.count, np.inf, np.float32)
        high = np.full(self.count, -np.inf, np.float32)
        np.minimum.at(low, self._person, position_map[self._used])
        np.maximum.at(high, self._person, position_map[self._used])
        return high - low


def _inside(peaks: Peaks, maps: FieldMaps) -> Peaks:
    """Leave out candidates a cell and more outside the picture.

    A nearer one belongs to something at the picture's edge, and is put there in the end.
    """
    transform, stride = maps.transform, maps.stride
    x_edge = transform.width_px * transform.scale_x / stride + 1
    y_edge = transform.height_px * transform.scale_y / stride + 1
    is_inside = (peaks.x_map < x_edge) & (peaks.y_map < y_edge)
    if is_inside.all():
        return peaks
    part = peaks.part[is_inside]
    return Peaks(
        part,
        peaks.x_map[is_inside],
        peaks.y_map[is_inside],
        peaks.score[is_inside],
        np.searchsorted(part, np.arange(len(peaks.first))),
        peaks.truncated,
    )


def _finite(maps: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give maps as C-contiguous float32 without NaN and infinities, which a broken network gives; they become 0."""
    plain = np.ascontiguousarray(maps, np.float32)
    # One NaN or infinity makes the sum one too, and the sum is much cheaper than a look at each.
    if not np.isfinite(plain.sum()):
        plain = np.nan_to_num(plain, nan=0.0, posinf=0.0, neginf=0.0)
    return plain
