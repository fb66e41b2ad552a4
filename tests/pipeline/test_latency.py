"""Percentiles, frame rates and counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.lane.state import FrameRate
from posestream.pipeline.latency import LatencyHistogram
from posestream.stages.items import Drop, FrameKey, Reason, Stage


@given(st.lists(st.floats(1e-5, 7000.0), min_size=1, max_size=60), st.sampled_from([1.0, 50.0, 90.0, 99.0, 100.0]))
def test_percentiles_are_right_to_one_percent(durations_s: list[float], percent: float) -> None:
    """A percentile is the duration of that rank to 1 %, from ten microseconds to two hours."""
    histogram = LatencyHistogram()
    for duration_s in durations_s:
        histogram.add(duration_s)
    rank = max(1, math.ceil(len(durations_s) * percent / 100))
    assert histogram.percentile_s(percent) == pytest.approx(sorted(durations_s)[rank - 1], rel=0.0101)
    assert len(histogram) == len(durations_s)


def test_percentiles_of_many_durations_agree_with_numpy() -> None:
    """Median and p99 of ten thousand durations agree with NumPy's to 2 %."""
    durations_s = np.random.default_rng(3).lognormal(-3.0, 0.7, 10_000)
    histogram = LatencyHistogram()
    for duration_s in durations_s:
        histogram.add(float(duration_s))
    for percent in (50, 99):
        assert histogram.percentile_s(percent) == pytest.approx(np.percentile(durations_s, percent), rel=0.02)


@pytest.mark.parametrize(("duration_s", "told_s"), [(0.0, 1e-5), (-1.0, 1e-5), (1e9, 7100.0)])
def test_durations_out_of_range_count_at_its_ends(duration_s: float, told_s: float) -> None:
    """A clock that runs backwards or a frame that takes months is counted all the same."""
    histogram = LatencyHistogram()
    histogram.add(duration_s)
    assert histogram.percentile_s(50) == pytest.approx(told_s, rel=0.02)


def test_without_durations_there_is_no_percentile() -> None:
    """Before the first duration a percentile is None, not 0."""
    assert LatencyHistogram().percentile_s(50) is None


def test_a_histogram_is_made_again_from_its_counts() -> None:
    """Counts that travelled from another process give the same percentiles."""
    histogram = LatencyHistogram()
    histogram.add(0.05)
    assert LatencyHistogram(histogram.counts).percentile_s(50) == histogram.percentile_s(50)


def test_the_frame_rate_is_that_of_the_last_frames() -> None:
    """The rate is 0 with the first frame, then frames per second, and forgets how it was long ago."""
    rate = FrameRate()
    assert rate.note(10.0) == 0.0
    assert rate.note(10.0) == 0.0
    for number in range(1, 100):
        slow = rate.note(10.0 + number)
    assert slow == pytest.approx(1.0)
    for number in range(100):
        fast = rate.note(110.0 + number / 25)
    assert fast == pytest.approx(25.0)


def test_counts_add_up() -> None:
    """What was taken is posed, dropped or in flight; copies do not change with the original."""
    counts = FrameCounts(taken=4)
    copy = counts.copy()
    key = FrameKey("door", 1)
    counts.end(None)
    counts.end(Drop(key, Stage.DISPATCH, Reason.NEWER))
    counts.end(Drop(key, Stage.DISPATCH, Reason.NEWER))
    assert (counts.posed, counts.dropped, counts.ended, counts.in_flight) == (1, {"dispatch/newer": 2}, 3, 1)
    assert (copy.ended, copy.in_flight) == (0, 4)


def test_what_is_taken_again_is_uncounted() -> None:
    """Frames that a restarted lane takes again leave no trace, no reason with none of it either."""
    counts = FrameCounts(taken=3)
    drop = Drop(FrameKey("door", 1), Stage.DISPATCH, Reason.NEWER)
    counts.end(None)
    counts.end(drop)
    counts.forget({"": 1, "dispatch/newer": 1}, in_flight=1)
    assert counts == FrameCounts()
