"""Where keypoints may be: the local maxima of the heatmaps, to a fraction of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.stages.group.decoder import View
from posestream.stages.group.zoom import ZOOM, zoomed
from posestream.stages.items import frozen

__all__ = ["Peaks", "PeakFinder"]

#: Values below are taken for this one where a logarithm is needed.
LOG_FLOOR = 1e-3
#: A maximum whose logarithm bends less than this per zoomed cell squared is flat: a constant map's rounding errors.
#: A Gaussian bends so little when its standard deviation is above 100 cells.
LEAST_BEND = 2e-5
#: Terms of the logarithm's series; with them it is right to 1e-9.
LOG_TERMS = (17, 15, 13, 11, 9, 7, 5, 3)
LOG_2 = 0.6931471805599453

_THREE_BY_THREE = frozen(np.ones((3, 3), np.uint8))

Cells = NDArray[np.intp]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Peaks:
    """Candidates for all keypoints, by part and within a part the highest first."""

    #: N part numbers, ascending.
    part: NDArray[np.intp]
    #: N positions in cells; cell i's centre is at i + 0.5.
    x_map: Floats
    y_map: Floats
    #: N heights, 0…1.
    score: Floats
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

    def __call__(self, heatmaps_khw: Floats, view: View) -> Peaks:
        """Find the candidates of K parts in K×h×w finite heatmaps (background left out), in the picture."""
        maps = zoomed(heatmaps_khw)
        values, line = maps.ravel(), maps.shape[2]
        flat = _maxima(maps, self._threshold)
        offsets, bends = _log_parabola(values, flat, line)
        x, y = _places(maps, flat, offsets)
        # What lies in the letterbox's padding takes nobody's place.
        is_inside = (x < np.float32(view.x_edge_map)) & (y < np.float32(view.y_edge_map))
        kept = np.flatnonzero((bends.min(axis=0, initial=np.inf) > LEAST_BEND) & is_inside)
        flat, x, y = flat[kept], x[kept], y[kept]
        part = flat // maps[0].size
        order = np.lexsort((-values[flat], part))
        part = part[order]
        rank = np.arange(len(part)) - np.searchsorted(part, part)
        is_kept = rank < self._most_per_part
        order = order[is_kept]
        return _peaks(maps, flat[order], part[is_kept], x[order], y[order], truncated=not is_kept.all())

    def highest(self, heatmaps_khw: Floats, view: View) -> Peaks:
        """Find each part's highest point in the picture only, where it is above the threshold."""
        maps = zoomed(heatmaps_khw)
        rows, columns = ((np.arange(size) - 0.5) / ZOOM for size in maps.shape[1:])
        is_inside = (rows < np.float32(view.y_edge_map))[:, None] & (columns < np.float32(view.x_edge_map))
        by_part = np.where(is_inside, maps, np.float32(0)).reshape(len(maps), -1)
        where = by_part.argmax(axis=1)
        part = np.flatnonzero(by_part[np.arange(len(where)), where] > self._threshold)
        flat = where[part] + part * by_part.shape[1]
        offsets, _ = _log_parabola(maps.ravel(), flat, maps.shape[2])
        return _peaks(maps, flat, part, *_places(maps, flat, offsets), truncated=False)


def _maxima(maps: Floats, threshold: float) -> Cells:
    """Give the flat numbers of all cells above the threshold that no neighbour surpasses.

    Of equal neighbours the first in scan order counts, so that a plateau is not a crowd. The zero rows and column
    around each map (see `zoomed`) stand for what lies beyond its edges.
    """
    line = maps.shape[2]
    tall = maps.reshape(-1, line)
    surroundings = np.asarray(cv2.dilate(tall, _THREE_BY_THREE))
    values = maps.ravel()
    flat = np.flatnonzero((tall >= surroundings) & (tall > threshold))
    earlier = flat - np.array([[1], [line - 1], [line], [line + 1]])
    maxima: Cells = flat[values.take(flat) > np.maximum.reduce(values.take(earlier))]
    return maxima


def _places(maps: Floats, flat: Cells, offsets: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Give x and y in cells of the map."""
    _, height, width = maps.shape
    rows, columns = np.divmod(flat % (height * width), width)
    # The first row and column are the zeros before the map; the parabola needs both neighbours inside.
    x_offset = np.where((columns > 1) & (columns < width - 1), offsets[0], 0)
    y_offset = np.where((rows > 1) & (rows < height - 2), offsets[1], 0)
    x, y = (columns - 0.5 + x_offset) / ZOOM, (rows - 0.5 + y_offset) / ZOOM
    return x.astype(np.float32), y.astype(np.float32)


def _peaks(maps: Floats, flat: Cells, part: Cells, x_map: Floats, y_map: Floats, *, truncated: bool) -> Peaks:
    return Peaks(
        frozen(part),
        frozen(x_map),
        frozen(y_map),
        frozen(np.minimum(maps.ravel().take(flat), np.float32(1))),
        frozen(np.searchsorted(part, np.arange(len(maps) + 1))),
        bool(truncated),
    )


def _log_parabola(values: Floats, flat: Cells, line: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the tops of the parabolas through the logarithms of three neighbours, and their bends; 2×N: x, y.

    A top is −0.5…0.5 cells from the middle one; for a Gaussian it is exact.
    """
    around = flat + np.array([[0], [-1], [-line], [1], [line]])
    logs = _log(np.maximum(values.take(around), np.float32(LOG_FLOOR)))
    middle, before, after = logs[0], logs[1:3], logs[3:5]
    bends = 2 * middle - before - after
    tops = 0.5 * (after - before) / np.maximum(bends, LEAST_BEND)
    return np.minimum(np.maximum(tops, -0.5), 0.5), bends


def _log(values: Floats) -> NDArray[np.float64]:
    """Give natural logarithms by additions, multiplications and divisions alone.

    Those are rounded alike by every processor and library; ready-made logarithms are not. With m·2^e = x and
    t = (m − 1) / (m + 1): ln x = e·ln 2 + 2·(t + t³/3 + t⁵/5 + …).
    """
    mantissa, exponent = np.frexp(values.astype(np.float64))
    t = (mantissa - 1) / (mantissa + 1)
    squared = t * t
    series = np.full_like(t, 1 / LOG_TERMS[0])
    for term in LOG_TERMS[1:]:
        series *= squared
        series += 1 / term
    series *= squared
    series += 1
    return np.asarray(exponent * LOG_2 + 2 * (t * series), np.float64)
