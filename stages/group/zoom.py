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
    padded = np.zeros((count, height, width + 2 * REACH), np.float32)
    padded[:, :, REACH : REACH + width] = maps_khw
    wide = np.zeros((count, height + 2 * REACH, ZOOM * width), np.float32)
    result = np.zeros((count, ZOOM * height + 2, ZOOM * width + 1), np.float32)
    across, down = zoom_taps(width), zoom_taps(height)
    for phase in range(ZOOM):
        columns = [padded[:, :, tap : tap + width] for tap in range(TAPS)]
        wide[:, REACH : REACH + height, phase::ZOOM] = _weighed(columns, across[phase::ZOOM].T)
    for phase in range(ZOOM):
        rows = [wide[:, tap : tap + height] for tap in range(TAPS)]
        result[:, 1 + phase : -1 : ZOOM, 1:] = _weighed(rows, down[phase::ZOOM].T[:, :, None])
    return result


def _weighed(maps: list[NDArray[np.float32]], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum maps times their weights, in order."""
    total = maps[0] * weights[0]
    product = np.empty_like(total)
    for values, weight in zip(maps[1:], weights[1:], strict=True):
        np.multiply(values, weight, out=product)
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
