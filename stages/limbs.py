"""Which candidates may be joined: every pair a limb could have, weighed by the field between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.items import frozen
from posestream.stages.peaks import Peaks

__all__ = ["Connections", "LimbScorer"]

#: Points along a limb at which its field is taken, both ends included.
SAMPLES = 10
#: Two keypoints nearer than this many cells have no direction worth asking the field about.
SHORTEST_MAP = 1e-3
#: Pairs weighed at once: bounds the memory a crowd takes, and OpenCV's pictures have less than 32767 rows.
PAIRS_AT_ONCE = 16384


@dataclass(frozen=True, slots=True)
class Connections:
    """Pairs of candidates whose limb's field agrees, the best first."""

    #: M limb numbers.
    limb: NDArray[np.intp]
    #: M candidate numbers of the limb's two ends.
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    #: M scores, 0…1.
    score: NDArray[np.float32]


class LimbScorer:
    """Weighs all pairs of all limbs in one pass over the fields."""

    def __init__(self, layout: Layout, threshold: float, agreeing: float) -> None:
        self._threshold = threshold
        self._agreeing = agreeing
        self._starts = np.array([start for start, _ in layout.limbs], np.intp)
        self._ends = np.array([end for _, end in layout.limbs], np.intp)
        self._x_channels = np.array([x for x, _ in layout.paf_channels], np.float32)
        self._y_channels = np.array([y for _, y in layout.paf_channels], np.float32)

    def __call__(self, pafs_chw: NDArray[np.float32], peaks: Peaks) -> Connections:
        """Weigh the pairs by the mean of their field along the limb (Cao et al. 2019, section 3.3)."""
        limb, start, end = self._pairs(peaks)
        dx = peaks.x_map[end] - peaks.x_map[start]
        dy = peaks.y_map[end] - peaks.y_map[start]
        length = np.maximum(np.sqrt(dx * dx + dy * dy), SHORTEST_MAP)
        score = np.zeros(len(limb), np.float32)
        agrees = np.zeros(len(limb), np.bool_)
        for begin in range(0, len(limb), PAIRS_AT_ONCE):
            part = slice(begin, begin + PAIRS_AT_ONCE)
            along = self._along(pafs_chw, peaks, limb[part], start[part], dx[part], dy[part]) / length[part, None]
            agrees[part] = (along > self._threshold).mean(axis=1) >= self._agreeing
            score[part] = along.mean(axis=1)
        keep = np.flatnonzero(agrees & (score > 0))
        # Equal scores keep the order of the pairs, so the same maps give the same people everywhere.
        keep = keep[np.argsort(-score[keep], kind="stable")]
        return Connections(
            frozen(limb[keep]), frozen(start[keep]), frozen(end[keep]), frozen(np.clip(score[keep], 0, 1))
        )

    def _pairs(self, peaks: Peaks) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Give limb, start and end of every pair."""
        counts = np.diff(peaks.first)
        rows = counts[self._starts]
        row_limb = np.repeat(np.arange(len(rows)), rows)
        row_start = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows - peaks.first[self._starts], rows)
        columns = counts[self._ends][row_limb]
        shift = np.cumsum(columns) - columns - peaks.first[self._ends][row_limb]
        end = np.arange(columns.sum()) - np.repeat(shift, columns)
        return np.repeat(row_limb, columns), np.repeat(row_start, columns), end

    def _along(
        self,
        pafs_chw: NDArray[np.float32],
        peaks: Peaks,
        limb: NDArray[np.intp],
        start: NDArray[np.intp],
        dx: NDArray[np.float32],
        dy: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Give the field's part along each pair at SAMPLES points, times the pair's length."""
        channels, height, width = pafs_chw.shape
        # The channels lie below each other as one tall picture, which one call of OpenCV samples bilinearly.
        # Clipped to the centres of a channel's edge cells, no point reaches into the next channel.
        tall = pafs_chw.reshape(channels * height, width)
        steps = np.linspace(0, 1, SAMPLES, dtype=np.float32)
        x = np.clip(peaks.x_map[start, None] - 0.5 + dx[:, None] * steps, 0, width - 1)
        y = np.clip(peaks.y_map[start, None] - 0.5 + dy[:, None] * steps, 0, height - 1)
        x_field = cv2.remap(tall, x, y + self._x_channels[limb, None] * np.float32(height), cv2.INTER_LINEAR)
        y_field = cv2.remap(tall, x, y + self._y_channels[limb, None] * np.float32(height), cv2.INTER_LINEAR)
        along: NDArray[np.float32] = x_field * dx[:, None] + y_field * dy[:, None]
        return along
