"""Percentiles of durations in bounded memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["LATENCY_BUCKETS", "STAGES", "LatencyHistogram"]

#: What a lane knows the durations of, in flow order; "total" is from the capture to the result.
STAGES = ("decode", "preprocess", "infer", "group", "output", "render", "total")

#: Durations below this, in seconds, count as this.
_SHORTEST_S = 1e-5
#: Ratio of one bucket's bound to the next: percentiles are right to 1 %.
_STEP = 1.02
#: Enough buckets for two hours.
LATENCY_BUCKETS = 1030


class LatencyHistogram:
    """Counts durations in buckets that grow by 2 %, so that months of them cost 8 KB."""

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        self._counts = np.zeros(LATENCY_BUCKETS, np.int64) if counts is None else counts

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def counts(self) -> NDArray[np.int64]:
        """A copy of the buckets' counts, from which another histogram can be made."""
        return self._counts.copy()

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        bucket = round(math.log(max(duration_s, _SHORTEST_S) / _SHORTEST_S) / math.log(_STEP))
        self._counts[min(bucket, LATENCY_BUCKETS - 1)] += 1

    def percentile_s(self, percent: float) -> float | None:
        """Give the duration that `percent` of them do not exceed, in seconds; None before the first."""
        total = len(self)
        if not total:
            return None
        rank = max(1, math.ceil(total * percent / 100))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return float(_SHORTEST_S * _STEP**bucket)
