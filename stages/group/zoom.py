"""Zoom: heatmaps at twice their resolution, interpolated cubically and smoothed, seven taps per axis."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from posestream.stages.items import frozen
from posestream.stages.resample import cubic_weights

__all__ = ["REACH", "TAPS", "ZOOM", "zoom_taps", "zoomed"]

#: Heatmaps are brought to this many times their resolution before their maxima are taken: joints of small people
#: are less than two cells apart, and would be one maximum.
ZOOM = 2
#: Standard deviation of the smoothing of heatmaps, in zoomed cells: takes off the ripple of the network's output
#: and of cubic interpolation, and leaves the networks' own Gaussians (7 px and wider) nearly as they are.
SMOOTHING_ZOOMED = 0.75
#: How far the smoothing reaches, in zoomed cells: four standard deviations.
SMOOTHING_REACH = 3
#: A zoomed cell is made of its own cell and so many on each side of it.
REACH = 3
TAPS = 2 * REACH + 1


def zoomed(maps_khw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zoom K×h×w finite maps to K×(2h + 2)×(2w + 1), whose first and last row and first column are zeros.

    With those zeros every cell has eight neighbours in the flat order of cells, none of them in another map or beyond
    the other edge. Each sum is taken tap by tap, from left to right and from top to bottom, without which rounding
    would differ between this and the compiled decoder.
    """
    count, height, width = maps_khw.shape
    wide = np.zeros((count, height + 2 * REACH, ZOOM * width), np.float32)
    _widen(maps_khw, wide[:, REACH : REACH + height])
    result = np.zeros((count, ZOOM * height + 2, ZOOM * width + 1), np.float32)
    for phase in range(ZOOM):
        taps = zoom_taps(height)[phase::ZOOM]
        rows = _weighed([wide[:, tap : tap + height] for tap in range(TAPS)], taps[height // 2])
        for begin, end in _edges(taps):
            lines = [wide[:, begin + tap : end + tap] for tap in range(TAPS)]
            rows[:, begin:end] = _weighed(lines, taps[begin:end].T[:, :, None])
        result[:, 1 + phase : -1 : ZOOM, 1:] = rows
    return result


def _widen(maps_khw: NDArray[np.float32], wide: NDArray[np.float32]) -> None:
    """Zoom the rows of K×h×w maps into K×h×ZOOM·w."""
    count, height, width = maps_khw.shape
    line = width + 2 * REACH
    # All rows of all maps lie behind each other with zeros between: one row, to be added up with itself moved.
    cells = np.zeros(count * height * line + 2 * REACH, np.float32)
    padded = cells[: -2 * REACH].reshape(count, height, line)
    padded[:, :, REACH : REACH + width] = maps_khw
    for phase in range(ZOOM):
        taps = zoom_taps(width)[phase::ZOOM]
        row = _weighed([cells[tap : tap + padded.size] for tap in range(TAPS)], taps[width // 2])
        wide[:, :, phase::ZOOM] = row.reshape(padded.shape)[:, :, :width]
        for begin, end in _edges(taps):
            # A few columns of many rows: quicker with each column in one piece.
            block = padded[:, :, begin : end + 2 * REACH].transpose(2, 0, 1).copy()
            columns = [block[tap : end - begin + tap] for tap in range(TAPS)]
            edge = _weighed(columns, taps[begin:end].T[:, :, None, None])
            wide[:, :, ZOOM * begin + phase : ZOOM * end : ZOOM] = edge.transpose(1, 2, 0)


def _edges(taps: NDArray[np.float32]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give begin and end of the cells at either edge that have other weights than the middle one."""
    alike = np.flatnonzero((taps == taps[len(taps) // 2]).all(axis=1))
    return (0, int(alike[0])), (int(alike[-1]) + 1, len(taps))


def _weighed(values: list[NDArray[np.float32]], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum TAPS arrays times their weights, in order."""
    total: NDArray[np.float32] = values[0] * weights[0]
    product = np.empty_like(total)
    for each, weight in zip(values[1:], weights[1:], strict=True):
        np.multiply(each, weight, out=product)
        total += product
    return total


@lru_cache(maxsize=64)
def zoom_taps(size: int) -> NDArray[np.float32]:
    """Give the weights (ZOOM·size)×TAPS with which `size` cells become zoomed ones: cubic, then smoothed.

    Zoomed cell i is the sum of cells i // ZOOM − REACH … i // ZOOM + REACH times its weights. Beyond the edges the
    maps count as zero, where most libraries repeat the edge: repeated, a joint in the first cell and a half has its
    maximum at the very edge. The smoothing leaves what is beyond out.
    """
    count = ZOOM * size
    cell = np.arange(count)
    taps, total = np.zeros((count, TAPS)), np.zeros(count)
    for away in range(-SMOOTHING_REACH, SMOOTHING_REACH + 1):
        other = cell + away
        share = math.exp(-0.5 * (away / SMOOTHING_ZOOMED) ** 2) * ((other >= 0) & (other < count))
        total += share
        for step in range(-2, 3):
            # From the cell's centre, in cells, to where the other zoomed cell's centre is.
            position = (other % ZOOM + 0.5) / ZOOM - 0.5
            place = other // ZOOM + step - cell // ZOOM + REACH
            known = (place >= 0) & (place < TAPS)
            taps[cell[known], place[known]] += (share * cubic_weights(np.abs(position - step)))[known]
    return frozen((taps / total[:, None]).astype(np.float32))
