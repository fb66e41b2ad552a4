"""What is told of the people found: their keypoints in the picture, their scores, and which of them are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.group.decoder import Found, View
from posestream.stages.group.limbs import Connections
from posestream.stages.group.peaks import Peaks
from posestream.stages.group.settings import GroupSettings
from posestream.stages.items import frozen

__all__ = ["LEAST_EXTENT_MAP", "SEEN_HALF_MAP", "People"]

#: The extent (diagonal of the box) of a person whose score is halved for being small, in cells.
SEEN_HALF_MAP = 8.0
#: Nobody counts as smaller than so many cells, about a keypoint's own width in a heatmap: three sure keypoints of a
#: face within a cell are somebody, though far away.
LEAST_EXTENT_MAP = 2.0


class People:
    """The candidates of each person, as tables.

    Args:
        layout: which keypoints and limbs there are.
        peaks: the candidates.
        person_of: each candidate's person, −1 for nobody's.
        count: how many people.
    """

    def __init__(self, layout: Layout, peaks: Peaks, person_of: NDArray[np.intp], count: int) -> None:
        self._layout = layout
        self._count = count
        self._peaks = peaks
        self._person_of = person_of
        self._used = np.flatnonzero(person_of >= 0)
        self._person = person_of[self._used]

    def scores(self, connections: Connections) -> NDArray[np.float64]:
        """Give each person's score, 0…1: the limbs' fields summed, over all limbs, times how well its size is seen.

        The sum counts how much of a person was found and how surely. A keypoint's error is a fraction of a cell
        whatever the person's size, so a person of few cells is found less exactly; one of SEEN_HALF_MAP cells
        counts half.
        """
        person = self._person_of[connections.start]
        within = np.flatnonzero((person >= 0) & (person == self._person_of[connections.end]))
        fields = np.bincount(person[within], connections.score[within], minlength=self._count)
        wide, high = self._extent(self._peaks.x_map), self._extent(self._peaks.y_map)
        extent = np.maximum(np.sqrt(wide * wide + high * high), LEAST_EXTENT_MAP)
        return np.minimum(fields / len(self._layout.limbs), 1) * extent / (extent + SEEN_HALF_MAP)

    def kept(self, scores: NDArray[np.float64], settings: GroupSettings, view: View) -> Found:
        """Give those who are sure and whole enough, the best first and of equals the first found."""
        sizes = np.bincount(self._person, minlength=self._count)
        kept = np.flatnonzero((sizes >= settings.least_parts) & (scores >= settings.least_score))
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        is_truncated = self._peaks.truncated or len(kept) > settings.most_people
        kept = kept[: settings.most_people]
        # As float32, which is how they travel, so that a score is the same wherever it is read.
        return Found(frozen(self._keypoints(view)[kept]), frozen(scores[kept].astype(np.float32)), is_truncated)

    def _keypoints(self, view: View) -> NDArray[np.float32]:
        """Give count×K×3 keypoints in source pixels, not beyond the picture."""
        keypoints = np.full((self._count, len(self._layout.keypoints), 3), np.nan, np.float32)
        part = self._peaks.part[self._used]
        for axis, (position, px_per_cell, size) in enumerate(
            (
                (self._peaks.x_map, view.x_px_per_cell, view.width_px),
                (self._peaks.y_map, view.y_px_per_cell, view.height_px),
            )
        ):
            keypoints[self._person, part, axis] = np.clip(position[self._used] * np.float32(px_per_cell), 0, size)
        keypoints[self._person, part, 2] = self._peaks.score[self._used]
        return keypoints

    def _extent(self, position_map: NDArray[np.float32]) -> NDArray[np.float64]:
        low = np.full(self._count, np.inf)
        high = np.full(self._count, -np.inf)
        np.minimum.at(low, self._person, position_map[self._used])
        np.maximum.at(high, self._person, position_map[self._used])
        extent: NDArray[np.float64] = high - low
        return extent
