"""Resample: maps brought to other sizes by cubic interpolation, as one matrix per axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cubic_matrix", "cubic_weights", "resampled"]

#: The tension of the cubic convolution kernel (Keys 1981), as OpenCV has it.
CUBIC_A = -0.75
#: A product of matrices with more multiplications than this may be shared out to threads by OpenBLAS; the threads
#: would spin against the network's. (Its limit is 65536 · 4.)
MOST_MULTIPLICATIONS = 250_000


def cubic_weights(away: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give the cubic kernel's weights of cells so far away, in cells, without a sign."""
    near = ((CUBIC_A + 2) * away - (CUBIC_A + 3)) * away * away + 1
    far = (((away - 5) * away + 8) * away - 4) * CUBIC_A
    return np.where(away <= 1, near, np.where(away < 2, far, 0))


def cubic_matrix(position: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """Give the P×size matrix that interpolates cubically at P positions, with zeros beyond the edges.

    Positions count from the first cell's centre.
    """
    return cubic_weights(np.abs(position[:, None] - np.arange(size)))


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


def _product(maps: NDArray[np.float32], matrix: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """Multiply each map's rows with a matrix, so many rows at a time."""
    if maps.shape[1] <= rows:
        return np.asarray(np.matmul(maps, matrix), np.float32)
    result = np.empty((*maps.shape[:2], matrix.shape[1]), np.float32)
    for begin in range(0, maps.shape[1], rows):
        np.matmul(maps[:, begin : begin + rows], matrix, out=result[:, begin : begin + rows])
    return result


def _rows(inner: int, columns: int) -> int:
    """Give how many rows of a product stay within the limit."""
    return max(1, MOST_MULTIPLICATIONS // (inner * columns))
