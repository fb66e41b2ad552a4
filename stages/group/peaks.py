"""Where keypoints may be: the local maxima of the heatmaps, to a fraction of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.stages.group.zoom import ZOOM, Zoom
from posestream.stages.items import frozen

__all__ = ["Peaks", "PeakFinder"]

#: Values below are taken for this one where a logarithm is needed.
LOG_FLOOR = 1e-3
#: A maximum whose logarithm bends less than this per zoomed cell squared is flat: a constant map's rounding errors.
#: A Gaussian bends so little when its standard deviation is above 100 cells.
LEAST_BEND = 2e-5

_THREE_BY_THREE = frozen(np.ones((3, 3), np.uint8))

Cells = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Peaks:
    """Candidates for all keypoints, by part and within a part the highest first."""

    #: N part numbers, ascending.
    part: NDArray[np.intp]
    #: N positions in cells; cell i's centre is at i + 0.5.
    x_map: NDArray[np.float32]
    y_map: NDArray[np.float32]
    #: N heights, 0…1.
    score: NDArray[np.float32]
    #: K + 1 numbers: part k's candidates are `first[k]` to `first[k + 1]`.
    first: NDArray[np.intp]
    #: True where a part had more candidates than are kept.
    truncated: bool


class PeakFinder:
    """Finds the maxima of heatmaps after zooming.

    Args:
        threshold: least height, 0…1.
        most_per_part: how many of a part's maxima are kept, the highest.
    """

    def __init__(self, threshold: float, most_per_part: int) -> None:
        self._threshold = threshold
        self._most_per_part = most_per_part
        self._zoom = Zoom()

    def __call__(self, heatmaps_khw: NDArray[np.float32]) -> Peaks:
        """Find the candidates of K parts in K×h×w finite heatmaps (background left out)."""
        zoomed = self._zoom(heatmaps_khw)
        flat = _maxima(zoomed, self._threshold)
        part = flat // zoomed[0].size
        order = np.lexsort((-zoomed.ravel()[flat], part))
        flat, part = flat[order], part[order]
        rank = np.arange(len(part)) - np.searchsorted(part, part)
        kept = rank < self._most_per_part
        return _peaks(zoomed, flat[kept], part[kept], truncated=not kept.all())

    def highest(self, heatmaps_khw: NDArray[np.float32]) -> Peaks:
        """Find each part's highest point only, where it is above the threshold."""
        zoomed = self._zoom(heatmaps_khw)
        by_part = zoomed.reshape(len(zoomed), -1)
        where = by_part.argmax(axis=1)
        part = np.flatnonzero(by_part[np.arange(len(where)), where] > self._threshold)
        return _peaks(zoomed, where[part] + part * by_part.shape[1], part, truncated=False)


def _maxima(zoomed: NDArray[np.float32], threshold: float) -> Cells:
    """Give the flat numbers of all cells above the threshold that no neighbour surpasses.

    Of equal neighbours the first in scan order counts, so that a plateau is not a crowd. The zero rows and column
    around each map (see `Zoom`) stand for what lies beyond its edges.
    """
    line = zoomed.shape[2]
    tall = zoomed.reshape(-1, line)
    surroundings = np.asarray(cv2.dilate(tall, _THREE_BY_THREE))
    values = zoomed.ravel()
    flat = np.flatnonzero((tall >= surroundings) & (tall > threshold))
    earlier = flat - np.array([[1], [line - 1], [line], [line + 1]])
    flat = flat[values.take(flat) > np.maximum.reduce(values.take(earlier))]
    bends = np.minimum(_log_parabola(values, flat, 1)[1], _log_parabola(values, flat, line)[1])
    maxima: Cells = flat[bends > LEAST_BEND]
    return maxima


def _peaks(zoomed: NDArray[np.float32], flat: Cells, part: Cells, *, truncated: bool) -> Peaks:
    count, height, width = zoomed.shape
    rows, columns = np.divmod(flat - part * (height * width), width)
    values = zoomed.ravel()
    # The first row and column are the zeros before the map; the parabola needs both neighbours inside.
    x_offset = np.where((columns > 1) & (columns < width - 1), _log_parabola(values, flat, 1)[0], 0)
    y_offset = np.where((rows > 1) & (rows < height - 2), _log_parabola(values, flat, width)[0], 0)
    return Peaks(
        frozen(part),
        frozen(((columns - 0.5 + x_offset) / ZOOM).astype(np.float32)),
        frozen(((rows - 0.5 + y_offset) / ZOOM).astype(np.float32)),
        frozen(np.clip(values.take(flat), 0, 1)),
        frozen(np.searchsorted(part, np.arange(count + 1))),
        bool(truncated),
    )


def _log_parabola(
    values: NDArray[np.float32], flat: Cells, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the top of the parabola through the logarithms of three neighbours, and its bend.

    The top is −0.5…0.5 cells from the middle one; for a Gaussian it is exact.
    """
    around = flat + np.array([[-step], [0], [step]])
    before, middle, after = np.log(np.maximum(values.take(around), LOG_FLOOR))
    bend = 2 * middle - before - after
    top = 0.5 * (after - before) / np.maximum(bend, LEAST_BEND)
    return np.minimum(np.maximum(top, -0.5), 0.5), bend
