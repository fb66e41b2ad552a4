"""Which candidates may be joined: every pair a limb could have, weighed by the field between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.group.peaks import Peaks
from posestream.stages.group.settings import SAMPLES
from posestream.stages.items import frozen

__all__ = ["Connections", "LimbScorer"]

#: Two keypoints nearer than this many cells have no direction worth asking the field about.
SHORTEST_MAP = 1e-3
#: Pairs that are worked on at once: their numbers stay in the processor's cache, which makes crowds twice as fast.
GLANCED_AT_ONCE = 16384
PAIRS_AT_ONCE = 1024

Floats = NDArray[np.float32]
Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Connections:
    """Pairs of candidates whose limb's field agrees, the weightiest first."""

    #: M limb numbers.
    limb: Numbers
    #: M candidate numbers of the limb's two ends.
    start: Numbers
    end: Numbers
    #: M means of the field along the limb, 0…1.
    score: Floats
    #: M fields' means times the height of the lower end.
    weight: Floats


class LimbScorer:
    """Weighs all pairs of all limbs in one pass over the fields.

    Args:
        layout: which parts the limbs join, and the channels of their fields.
        threshold: the part of the field along a limb at which a sample agrees with it, 0…1.
        least_agreeing: how many of the SAMPLES must agree.
    """

    def __init__(self, layout: Layout, threshold: float, least_agreeing: int) -> None:
        self._threshold = np.float32(threshold)
        self._least_agreeing = least_agreeing
        self._starts = np.array([start for start, _ in layout.limbs], np.intp)
        self._ends = np.array([end for _, end in layout.limbs], np.intp)
        #: 2×L: the channels of x and of y.
        self._channels = np.array(layout.paf_channels, np.intp).T

    def __call__(self, pafs_chw: Floats, peaks: Peaks) -> Connections:
        """Weigh the pairs by the mean of their field along the limb (Cao et al. 2019, section 3.3).

        The best first: the field's mean times the height of the lower of the two maxima, because a limb is no surer
        than either of its ends.
        """
        # Clipped to the centres of the edge cells, no point between two candidates lies outside.
        _, height, width = pafs_chw.shape
        x = np.clip(peaks.x_map - np.float32(0.5), 0, width - 1)
        y = np.clip(peaks.y_map - np.float32(0.5), 0, height - 1)
        limb, start, end = self._likely(pafs_chw, peaks.first, x, y)
        score, agrees = np.zeros(len(limb), np.float32), np.zeros(len(limb), np.bool_)
        for begin in range(0, len(limb), PAIRS_AT_ONCE):
            part = slice(begin, begin + PAIRS_AT_ONCE)
            score[part], agrees[part] = self._looked_at(pafs_chw, limb[part], x, y, start[part], end[part])
        weight = score * np.minimum(peaks.score[start], peaks.score[end])
        kept = np.flatnonzero(agrees & (weight > 0))
        # Equal weights keep the order of the pairs, so the same maps give the same people everywhere.
        kept = kept[np.argsort(-weight[kept], kind="stable")]
        return Connections(
            frozen(limb[kept]),
            frozen(start[kept]),
            frozen(end[kept]),
            frozen(np.minimum(score[kept], np.float32(1))),
            frozen(weight[kept]),
        )

    def _likely(self, pafs: Floats, first: Numbers, x: Floats, y: Floats) -> tuple[Numbers, Numbers, Numbers]:
        """Give limb, start and end of the pairs that deserve a close look.

        In a crowd nearly all pairs join two people; the field in the middle between them tells most of these.
        """
        counts = np.diff(first)
        most = int(counts.max(initial=0))
        if not most:
            return (np.zeros(0, np.intp),) * 3
        # Candidates in a table by part, filled up with ones that are nowhere.
        numbers = np.arange(most)
        table = first[:-1, None] + numbers
        is_real = numbers < counts[:, None]
        x_table, y_table = x.take(table, mode="clip"), y.take(table, mode="clip")
        at_once = max(1, GLANCED_AT_ONCE // (most * most))
        found = []
        for begin in range(0, len(self._starts), at_once):
            limbs = slice(begin, begin + at_once)
            flat = self._glance(pafs, limbs, x_table, y_table, is_real)
            found.append(flat + begin * most * most)
        rows, end = np.divmod(np.concatenate(found), most)
        limb, start = np.divmod(rows, most)
        return limb, start + first[self._starts[limb]], end + first[self._ends[limb]]

    def _glance(
        self, pafs: Floats, limbs: slice, x_table: Floats, y_table: Floats, is_real: NDArray[np.bool_]
    ) -> Numbers:
        """Give the flat numbers of the likely among all l×most×most pairs of l limbs."""
        _, height, width = pafs.shape
        starts, ends = self._starts[limbs], self._ends[limbs]
        x_start, x_end = x_table[starts, :, None], x_table[ends, None, :]
        y_start, y_end = y_table[starts, :, None], y_table[ends, None, :]
        dx, dy = x_end - x_start, y_end - y_start
        # The cell whose centre is nearest to the middle.
        half = np.float32(0.5)
        column = (half * (x_start + x_end) + half).astype(np.intp)
        row = (half * (y_start + y_end) + half).astype(np.intp)
        cell = row * width + column
        base = self._channels[:, limbs, None, None] * (height * width)
        values = pafs.ravel()
        along = values.take(cell + base[0]) * dx + values.take(cell + base[1]) * dy
        is_likely = along > self._threshold * np.sqrt(dx * dx + dy * dy)
        return np.flatnonzero(is_likely & is_real[starts, :, None] & is_real[ends, None, :])

    def _looked_at(
        self, pafs: Floats, limb: Numbers, x: Floats, y: Floats, start: Numbers, end: Numbers
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Give the pairs' mean of the field along them, and whether enough samples agree."""
        _, height, width = pafs.shape
        dx, dy = x[end] - x[start], y[end] - y[start]
        length = np.maximum(np.sqrt(dx * dx + dy * dy), np.float32(SHORTEST_MAP))
        steps = np.arange(1, SAMPLES + 1, dtype=np.float32)[:, None] / np.float32(SAMPLES + 1)
        points = _Points(x[start] + steps * dx, y[start] + steps * dy, height, width)
        base = self._channels[:, limb] * (height * width)
        values = pafs.ravel()
        along = points.sampled(values, base[0]) * dx + points.sampled(values, base[1]) * dy
        agreeing = np.add.reduce(along > self._threshold * length, axis=0, dtype=np.uint8)
        # One after the other: NumPy's own sum takes another order for one pair than for many.
        total = along[0]
        for sample in along[1:]:
            total = total + sample
        return total / (length * np.float32(SAMPLES)), agreeing >= self._least_agreeing


class _Points:
    """Points between the centres of cells, and what bilinear interpolation needs of each.

    Args:
        x, y: from the first cell's centre, in cells, all inside.
        height, width: of the maps, in cells.
    """

    def __init__(self, x: Floats, y: Floats, height: int, width: int) -> None:
        left, top = np.floor(x), np.floor(y)
        self._x_beyond, self._y_beyond = x - left, y - top
        column, row = left.astype(np.intp), top.astype(np.intp)
        #: The cell left and above, and how far it is from there to the next one across and down, if there is one.
        self._cell = row * width + column
        self._across = (column < width - 1).astype(np.intp)
        self._down = (row < height - 1) * np.intp(width)

    def sampled(self, values: Floats, base: Numbers) -> Floats:
        """Give the values at the points, of maps that begin at `base` for each column of points."""
        corner = self._cell + base
        upper = self._between(values, corner)
        lower = self._between(values, corner + self._down)
        return upper + self._y_beyond * (lower - upper)

    def _between(self, values: Floats, cell: Numbers) -> Floats:
        left = values.take(cell)
        return left + self._x_beyond * (values.take(cell + self._across) - left)
