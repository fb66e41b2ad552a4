"""Where keypoints may be: the local maxima of the heatmaps, to a fraction of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.stages.items import frozen

__all__ = ["Peaks", "PeakFinder"]

#: Heatmaps are brought to this many times their resolution before their maxima are taken.
ZOOM = 2
#: Standard deviation of the smoothing of heatmaps, in zoomed cells: takes the ripple of the network's output
#: and the one of cubic interpolation off, and leaves OpenPose's own Gaussians (7 px and wider) nearly as they are.
SMOOTHING_ZOOMED = 1.0
#: The tension of the cubic convolution kernel, as OpenCV and the reference decoders have it.
CUBIC_A = -0.75
#: Values below are taken for this one where a logarithm is needed.
LOG_FLOOR = 1e-3


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
    """Finds the maxima of heatmaps after cubic zooming and smoothing, which are one linear map per axis."""

    def __init__(self, threshold: float, most_per_part: int) -> None:
        self._threshold = threshold
        self._most_per_part = most_per_part
        self._zoom_by_size: dict[int, NDArray[np.float32]] = {}

    def __call__(self, heatmaps_khw: NDArray[np.float32]) -> Peaks:
        """Find the candidates of K parts in K×h×w finite heatmaps (background left out)."""
        zoomed = self._zoomed(heatmaps_khw)
        part, rows, columns = self._maxima(zoomed)
        part, rows, columns, truncated = self._highest(zoomed, part, rows, columns)
        x = (columns + 0.5 + _offset(zoomed, (part, rows, columns), axis=2)) / ZOOM
        y = (rows + 0.5 + _offset(zoomed, (part, rows, columns), axis=1)) / ZOOM
        first = np.searchsorted(part, np.arange(len(heatmaps_khw) + 1))
        score = np.clip(zoomed[part, rows, columns], 0, 1)
        return Peaks(
            frozen(part),
            frozen(x.astype(np.float32)),
            frozen(y.astype(np.float32)),
            frozen(score),
            frozen(first),
            truncated,
        )

    def highest(self, heatmaps_khw: NDArray[np.float32]) -> Peaks:
        """Find each part's highest point only, where it is above the threshold."""
        zoomed = self._zoomed(heatmaps_khw)
        count, _, width = zoomed.shape
        where = zoomed.reshape(count, -1).argmax(axis=1)
        part = np.flatnonzero(zoomed.reshape(count, -1).max(axis=1) > self._threshold)
        rows, columns = np.divmod(where[part], width)
        x = (columns + 0.5 + _offset(zoomed, (part, rows, columns), axis=2)) / ZOOM
        y = (rows + 0.5 + _offset(zoomed, (part, rows, columns), axis=1)) / ZOOM
        first = np.searchsorted(part, np.arange(count + 1))
        score = np.clip(zoomed[part, rows, columns], 0, 1)
        return Peaks(part, x.astype(np.float32), y.astype(np.float32), score, first, False)

    def _zoomed(self, heatmaps_khw: NDArray[np.float32]) -> NDArray[np.float32]:
        _, height, width = heatmaps_khw.shape
        zoomed: NDArray[np.float32] = self._zoom(height) @ (heatmaps_khw @ self._zoom(width).T)
        return zoomed

    def _zoom(self, size: int) -> NDArray[np.float32]:
        if size not in self._zoom_by_size:
            self._zoom_by_size[size] = zoom_matrix(size)
        return self._zoom_by_size[size]

    def _maxima(self, zoomed: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        count, height, width = zoomed.shape
        bordered = np.full((count, height + 2, width + 2), -np.inf, np.float32)
        bordered[:, 1:-1, 1:-1] = zoomed
        tall = bordered.reshape(-1, width + 2)
        around = cv2.dilate(tall, np.ones((3, 3), np.uint8))
        flat = np.flatnonzero((tall >= around) & (tall > self._threshold))
        # Of equal neighbours the first in scan order is the maximum, so that a plateau is not a crowd.
        values, line = tall.ravel(), width + 2
        earlier = np.maximum.reduce([values[flat - step] for step in (1, line - 1, line, line + 1)])
        flat = flat[values[flat] > earlier]
        rows, columns = np.divmod(flat, line)
        part, rows = np.divmod(rows, height + 2)
        return part, rows - 1, columns - 1

    def _highest(
        self,
        zoomed: NDArray[np.float32],
        part: NDArray[np.intp],
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], bool]:
        order = np.lexsort((-zoomed[part, rows, columns], part))
        part, rows, columns = part[order], rows[order], columns[order]
        rank = np.arange(len(part)) - np.searchsorted(part, part)
        kept = rank < self._most_per_part
        return part[kept], rows[kept], columns[kept], not kept.all()


def zoom_matrix(size: int) -> NDArray[np.float32]:
    """Give the (ZOOM·size)×size matrix that interpolates cubically, then smooths, with edges continued."""
    zoomed = ZOOM * size
    position = (np.arange(zoomed) + 0.5) / ZOOM - 0.5
    base = np.floor(position).astype(np.intp)
    cubic = np.zeros((zoomed, size))
    for tap in (-1, 0, 1, 2):
        away = np.abs(position - (base + tap))
        near = ((CUBIC_A + 2) * away - (CUBIC_A + 3)) * away * away + 1
        far = ((away - 5) * away + 8) * away * CUBIC_A - 4 * CUBIC_A
        np.add.at(cubic, (np.arange(zoomed), np.clip(base + tap, 0, size - 1)), np.where(away <= 1, near, far))
    reach = int(np.ceil(3 * SMOOTHING_ZOOMED))
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / SMOOTHING_ZOOMED) ** 2)
    smooth = np.zeros((zoomed, zoomed))
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        np.add.at(smooth, (np.arange(zoomed), np.clip(np.arange(zoomed) + step, 0, zoomed - 1)), weight)
    return frozen((smooth @ cubic).astype(np.float32))


def _offset(
    zoomed: NDArray[np.float32], at: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]], axis: int
) -> NDArray[np.float32]:
    """Give the top of the parabola through the logarithms of three neighbours, −0.5…0.5 cells from the middle one.

    For a Gaussian this is exact. At the map's edge the middle is taken.
    """
    middle = at[axis]
    size = zoomed.shape[axis]
    before = tuple(np.maximum(middle - 1, 0) if i == axis else index for i, index in enumerate(at))
    after = tuple(np.minimum(middle + 1, size - 1) if i == axis else index for i, index in enumerate(at))
    logs = np.log(np.maximum([zoomed[before], zoomed[at], zoomed[after]], LOG_FLOOR))
    curvature = 2 * logs[1] - logs[0] - logs[2]
    inside = (middle > 0) & (middle < size - 1) & (curvature > 0)
    slope = 0.5 * (logs[2] - logs[0])
    offset: NDArray[np.float32] = np.where(inside, slope / np.where(inside, curvature, 1), 0)
    return np.clip(offset, -0.5, 0.5)
