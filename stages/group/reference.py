"""The decoder in NumPy and OpenCV: what people are by definition, and what serves where nothing could be compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.group.assemble import assemble
from posestream.stages.group.decoder import MOST_FIELD, Found, View
from posestream.stages.group.limbs import LimbScorer
from posestream.stages.group.pairing import paired_first
from posestream.stages.group.peaks import PeakFinder, Peaks
from posestream.stages.group.people import People
from posestream.stages.group.settings import GroupSettings

__all__ = ["NumpyDecoder"]


class NumpyDecoder:
    """Decodes by arrays: zoom, maxima, limbs, people."""

    name = "numpy"

    def __init__(self, layout: Layout, settings: GroupSettings) -> None:
        self._layout = layout
        self._settings = settings
        self._find_peaks = PeakFinder(settings.peak_threshold, settings.most_peaks_per_part)
        self._score_limbs = LimbScorer(layout, settings.limb_threshold, settings.least_agreeing)

    def __call__(self, heatmaps_khw: NDArray[np.float32], pafs_chw: NDArray[np.float32], view: View) -> Found:
        """Decode one frame's maps."""
        heatmaps = _plain(heatmaps_khw)
        if self._settings.single_person:
            return self._single(self._find_peaks.highest(heatmaps, view), view)
        peaks = self._find_peaks(heatmaps, view)
        connections = paired_first(peaks, self._score_limbs(_plain(pafs_chw), peaks))
        people = People(self._layout, peaks, *assemble(peaks, connections))
        return people.kept(people.scores(connections), self._settings, view)

    def _single(self, peaks: Peaks, view: View) -> Found:
        """Give everything found to one person, whose score is the mean height over all parts."""
        count = min(len(peaks.part), 1)
        score = sum(peaks.score.tolist()) / len(self._layout.keypoints)
        people = People(self._layout, peaks, np.zeros(len(peaks.part), np.intp), count)
        return people.kept(np.full(count, score), self._settings, view)


def _plain(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give maps with zeros for what a broken network gives."""
    # Two looks at the whole are much cheaper than a copy; with a NaN there neither comparison is true.
    if maps.min() >= -MOST_FIELD and maps.max() <= MOST_FIELD:
        return maps
    return np.where(np.abs(maps) <= MOST_FIELD, maps, np.float32(0))
