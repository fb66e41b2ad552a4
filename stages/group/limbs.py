"""Which candidates may be joined: every pair a limb could have, weighed by the field between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.group.peaks import Peaks
from posestream.stages.items import frozen

__all__ = ["Connections", "LimbScorer"]

#: Points along a limb at which its field is taken, evenly spaced and without the ends, where the fields of
#: neighbouring limbs meet and partly cancel.
SAMPLES = 8
#: Two keypoints nearer than this many cells have no direction worth asking the field about.
SHORTEST_MAP = 1e-3
#: Pairs that are worked on at once: their numbers stay in the processor's cache, which makes crowds twice as fast.
GLANCED_AT_ONCE = 16384
PAIRS_AT_ONCE = 4096
#: Where candidates are put that do not exist: outside every field.
NOWHERE_MAP = -1e6

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


class LimbScorer:
    """Weighs all pairs of all limbs in one pass over the fields.

    Args:
        layout: which parts the limbs join, and the channels of their fields.
        threshold: the part of the field along a limb at which a sample agrees with it, 0…1.
        agreement: fraction of the samples that must agree, 0…1.
    """

    def __init__(self, layout: Layout, threshold: float, agreement: float) -> None:
        self._threshold = np.float32(threshold)
        self._least_agreeing = int(np.ceil(agreement * SAMPLES - 1e-9))
        self._starts = np.array([start for start, _ in layout.limbs], np.intp)
        self._ends = np.array([end for _, end in layout.limbs], np.intp)
        self._x_channels = np.array([x for x, _ in layout.paf_channels], np.float32)
        self._y_channels = np.array([y for _, y in layout.paf_channels], np.float32)

    def __call__(self, pafs_chw: Floats, peaks: Peaks) -> Connections:
        """Weigh the pairs by the mean of their field along the limb (Cao et al. 2019, section 3.3).

        The best first: the field's mean times the height of the lower of the two maxima, because a limb is no surer
        than either of its ends.
        """
        channels, height, width = pafs_chw.shape
        # The channels lie below each other as one tall picture, which one call of OpenCV samples at all points.
        # Clipped to the centres of a channel's edge cells, no point between two candidates reaches another channel.
        tall = pafs_chw.reshape(channels * height, width)
        x = np.clip(peaks.x_map - 0.5, 0, width - 1).astype(np.float32)
        y = np.clip(peaks.y_map - 0.5, 0, height - 1).astype(np.float32)
        limb, start, end = self._likely(tall, height, peaks.first, x, y)
        score, agrees = np.zeros(len(limb), np.float32), np.zeros(len(limb), np.bool_)
        for begin in range(0, len(limb), PAIRS_AT_ONCE):
            part = slice(begin, begin + PAIRS_AT_ONCE)
            score[part], agrees[part] = self._looked_at(tall, height, limb[part], x, y, start[part], end[part])
        weight = score * np.minimum(peaks.score[start], peaks.score[end])
        kept = np.flatnonzero(agrees & (weight > 0))
        # Equal weights keep the order of the pairs, so the same maps give the same people everywhere.
        kept = kept[np.argsort(-weight[kept], kind="stable")]
        return Connections(
            frozen(limb[kept]), frozen(start[kept]), frozen(end[kept]), frozen(np.minimum(score[kept], 1))
        )

    def _likely(
        self, tall: Floats, height: int, first: Numbers, x: Floats, y: Floats
    ) -> tuple[Numbers, Numbers, Numbers]:
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
        x_table = np.where(is_real, x.take(table, mode="clip"), np.float32(NOWHERE_MAP))
        y_table = np.where(is_real, y.take(table, mode="clip"), np.float32(0))
        at_once = max(1, GLANCED_AT_ONCE // (most * most))
        found = []
        for begin in range(0, len(self._starts), at_once):
            limbs = slice(begin, begin + at_once)
            flat = self._glance(tall, height, limbs, x_table, y_table)
            found.append(flat + begin * most * most)
        rows, end = np.divmod(np.concatenate(found), most)
        limb, start = np.divmod(rows, most)
        return limb, start + first[self._starts[limb]], end + first[self._ends[limb]]

    def _glance(self, tall: Floats, height: int, limbs: slice, x_table: Floats, y_table: Floats) -> Numbers:
        """Give the flat numbers of the likely among all l×most×most pairs of l limbs."""
        half = np.float32(0.5)
        x_start, x_end = x_table[self._starts[limbs], :, None], x_table[self._ends[limbs], None, :]
        y_start, y_end = y_table[self._starts[limbs], :, None], y_table[self._ends[limbs], None, :]
        dx, dy = x_end - x_start, y_end - y_start
        x_middle = half * x_start + half * x_end
        y_middle = half * y_start + half * y_end
        along = self._field(tall, height, self._x_channels[limbs], x_middle, y_middle) * dx
        along += self._field(tall, height, self._y_channels[limbs], x_middle, y_middle) * dy
        return np.flatnonzero(along > self._threshold * np.sqrt(dx * dx + dy * dy))

    def _field(self, tall: Floats, height: int, channels: Floats, x: Floats, y: Floats) -> Floats:
        """Give the value of a channel per limb in the cells of l×most×most points."""
        rows = (-1, x.shape[2])
        y = y + (channels * np.float32(height))[:, None, None]
        return _sampled(tall, x.reshape(rows), y.reshape(rows), cv2.INTER_NEAREST).reshape(x.shape)

    def _looked_at(
        self, tall: Floats, height: int, limb: Numbers, x: Floats, y: Floats, start: Numbers, end: Numbers
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Give the pairs' mean of the field along them, and whether enough samples agree."""
        dx, dy = x[end] - x[start], y[end] - y[start]
        length = np.maximum(np.sqrt(dx * dx + dy * dy), np.float32(SHORTEST_MAP))
        steps = np.arange(1, SAMPLES + 1, dtype=np.float32)[:, None] / np.float32(SAMPLES + 1)
        x_at, y_at = x[start] + steps * dx, y[start] + steps * dy
        down, across = self._x_channels * np.float32(height), self._y_channels * np.float32(height)
        along = _sampled(tall, x_at, y_at + down[limb], cv2.INTER_LINEAR) * dx
        along += _sampled(tall, x_at, y_at + across[limb], cv2.INTER_LINEAR) * dy
        agreeing = np.add.reduce(along > self._threshold * length, axis=0, dtype=np.uint8)
        return np.add.reduce(along, axis=0) / (length * np.float32(SAMPLES)), agreeing >= self._least_agreeing


def _sampled(tall: Floats, x: Floats, y: Floats, how: int) -> Floats:
    """Give a picture's values at points, zero outside. OpenCV takes less than 32767 rows and columns."""
    return np.asarray(cv2.remap(tall, x, y, how, borderMode=cv2.BORDER_CONSTANT), np.float32)
