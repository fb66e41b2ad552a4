"""Zoom: heatmaps at twice their resolution, interpolated cubically and smoothed, as one matrix per axis."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from posestream.stages.items import frozen

__all__ = ["ZOOM", "Zoom", "cubic_matrix", "resampled"]

#: Heatmaps are brought to this many times their resolution before their maxima are taken: joints of small people
#: are less than two cells apart, and would be one maximum.
ZOOM = 2
#: Standard deviation of the smoothing of heatmaps, in zoomed cells: takes off the ripple of the network's output
#: and of cubic interpolation, and leaves the networks' own Gaussians (7 px and wider) nearly as they are.
SMOOTHING_ZOOMED = 0.75
#: The tension of the cubic convolution kernel (Keys 1981), as OpenCV has it.
CUBIC_A = -0.75
#: A product of matrices with more multiplications than this may be shared out to threads by OpenBLAS; the threads
#: would spin against the network's. (Its limit is 65536 · 4.)
MOST_MULTIPLICATIONS = 250_000


class Zoom:
    """Zooms K×h×w maps to K×(2h + 2)×(2w + 1), whose first and last row and first column are zeros.

    With those zeros every cell has eight neighbours in the flat order of cells, none of them in another map or beyond
    the other edge.
    """

    def __call__(self, maps_khw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Zoom K finite maps."""
        count, height, width = maps_khw.shape
        zoomed = np.zeros((count, ZOOM * height + 2, ZOOM * width + 1), np.float32)
        wide = _product(maps_khw, zoom_matrix(width).T, _rows(width, ZOOM * width + 1))
        matrix = zoom_matrix(height)
        step = _rows(height, ZOOM * width + 1)
        for begin in range(0, len(matrix), step):
            np.matmul(matrix[begin : begin + step], wide, out=zoomed[:, begin : min(begin + step, len(matrix))])
        return zoomed


def _product(maps: NDArray[np.float32], matrix: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """Multiply each map's rows with a matrix, so many rows at a time."""
    if maps.shape[1] <= rows:
        return np.asarray(np.matmul(maps, matrix), np.float32)
    result = np.empty((*maps.shape[:2], matrix.shape[1]), np.float32)
    for begin in range(0, maps.shape[1], rows):
        np.matmul(maps[:, begin : begin + rows], matrix, out=result[:, begin : begin + rows])
    return result


@lru_cache(maxsize=64)
def zoom_matrix(size: int) -> NDArray[np.float32]:
    """Give the (ZOOM·size + 1)×size matrix that interpolates cubically, then smooths. Its first row is zero.

    Beyond the edges the maps count as zero, where most libraries repeat the edge: repeated, a joint in the first cell
    and a half has its maximum at the very edge. The smoothing leaves what is beyond out.
    """
    zoomed = ZOOM * size
    cubic = cubic_matrix((np.arange(zoomed) + 0.5) / ZOOM - 0.5, size)
    steps = np.arange(zoomed)[:, None] - np.arange(zoomed)
    smooth = np.exp(-0.5 * (steps / SMOOTHING_ZOOMED) ** 2) * (np.abs(steps) <= 4 * SMOOTHING_ZOOMED)
    smooth /= smooth.sum(axis=1, keepdims=True)
    return frozen(np.concatenate([np.zeros((1, size)), smooth @ cubic]).astype(np.float32))


def cubic_matrix(position: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """Give the P×size matrix that interpolates cubically at P positions, with zeros beyond the edges.

    Positions count from the first cell's centre.
    """
    away = np.abs(position[:, None] - np.arange(size))
    near = ((CUBIC_A + 2) * away - (CUBIC_A + 3)) * away * away + 1
    far = (((away - 5) * away + 8) * away - 4) * CUBIC_A
    return np.where(away <= 1, near, np.where(away < 2, far, 0))


def resampled(
    maps_chw: NDArray[np.float32], down: NDArray[np.float32], across: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Take C×h×w maps to C×H×W ones by an H×h and a W×w matrix."""
    count, height, width = maps_chw.shape
    wide = _product(maps_chw, across.T, _rows(width, len(across)))
    result = np.empty((count, len(down), len(across)), np.float32)
    step = _rows(height, len(across))
    for begin in range(0, len(down), step):
        np.matmul(down[begin : begin + step], wide, out=result[:, begin : begin + step])
    return result


def _rows(inner: int, columns: int) -> int:
    """Give how many rows of a product stay within the limit."""
    return max(1, MOST_MULTIPLICATIONS // (inner * columns))
