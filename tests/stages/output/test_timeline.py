"""The clock of a recording: the source's distances, always growing, whatever the source's clock does."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from posestream.stages.items import Frame, FrameKey
from posestream.stages.output.timeline import Timeline

TICK = Fraction(1, 90_000)


def a_frame(pts: int | None, epoch: int = 0, mono_s: float = 0.0, time_base: Fraction = TICK) -> Frame:
    """Give a frame at a time of its source's clock and of this host's."""
    return Frame(FrameKey("door", 0), epoch, pts, time_base, mono_s, 0.0, 64, 48, None)


def times_of(timeline: Timeline, *frames: Frame) -> list[Fraction]:
    """Give the frames' times in a recording in seconds."""
    return [timeline.ticks(frame) * timeline.time_base for frame in frames]


def a_timeline(rate: Fraction | None = Fraction(25), is_live: bool = False, time_base: Fraction = TICK) -> Timeline:
    """Give a timeline with pictures of two seconds."""
    return Timeline(time_base, rate, 2.0, is_live)


@given(st.integers(-(10**9), 10**12), st.lists(st.integers(1, 900_000), max_size=20))
def test_a_variable_frame_rate_is_kept(first: int, steps: list[int]) -> None:
    """A recorded source's frames keep exactly the distances that the source gave them, counted from the first."""
    pts = [first]
    for step in steps:
        pts.append(pts[-1] + step)
    timeline = a_timeline()

    assert [timeline.ticks(a_frame(each)) for each in pts] == [each - first for each in pts]
    assert timeline.is_continuous


@given(
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(-(10**7), 10**7), st.floats(0, 1e5)), min_size=1),
    st.booleans(),
)
def test_time_always_grows(frames: list[tuple[int, int | None, float]], is_live: bool) -> None:
    """Whatever the epochs, times and this host's clock are, a recording begins at 0 and its time only grows."""
    timeline = a_timeline(is_live=is_live)

    ticks = [timeline.ticks(a_frame(pts, epoch, mono_s)) for epoch, pts, mono_s in frames]

    assert ticks[0] == 0
    assert all(before < after for before, after in pairwise(ticks))


def test_a_reconnect_takes_the_time_it_took() -> None:
    """Where a live source's clock starts anew, the recording goes on after what passed on this host."""
    timeline = a_timeline(is_live=True)

    times = times_of(
        timeline,
        a_frame(900_000, 0, 100.0),
        a_frame(903_600, 0, 100.04),
        a_frame(0, 1, 130.04),
        a_frame(3_600, 1, 130.08),
    )

    assert [round(float(each), 6) for each in times] == [0.0, 0.04, 30.04, 30.08]
    assert not timeline.is_continuous


def test_a_clock_that_jumps_ahead_is_not_believed() -> None:
    """A live source's clock that runs far ahead of this host's adds only the time that passed here."""
    timeline = a_timeline(is_live=True)

    times = times_of(timeline, a_frame(0, 0, 5.0), a_frame(10**10, 0, 5.5), a_frame(10**10 + 9000, 0, 5.5))

    assert [round(float(each), 6) for each in times] == [0.0, 0.5, 0.6]


def test_a_burst_after_a_stall_keeps_its_times() -> None:
    """Frames of a live source that come late and all at once keep their own distances."""
    timeline = a_timeline(is_live=True)

    times = times_of(timeline, a_frame(0, 0, 5.0), a_frame(3_600, 0, 30.0), a_frame(7_200, 0, 30.0))

    assert [float(each) for each in times] == [0.0, 0.04, 0.08]


def test_a_recorded_source_may_pause() -> None:
    """A recorded source's long gap is its own and is kept."""
    assert times_of(a_timeline(), a_frame(0), a_frame(90_000 * 3600)) == [0, 3600]


def test_pictures_follow_each_other_evenly() -> None:
    """Still pictures are each shown for the time that is set, the last one too."""
    timeline = a_timeline(rate=None, time_base=Fraction(1, 1000))

    assert times_of(timeline, a_frame(None), a_frame(None), a_frame(None)) == [0, 2, 4]
    assert timeline.end_s == 6


def test_the_end_is_after_the_last_frame() -> None:
    """A recording lasts until its last frame has been shown for a frame's duration."""
    timeline = a_timeline()
    times_of(timeline, a_frame(500), a_frame(500 + 3_600))

    assert timeline.end_s == Fraction(2, 25)


def test_a_clock_too_fine_for_the_format_is_coarsened() -> None:
    """Nanoseconds become microseconds, and times stay right to half of one."""
    timeline = a_timeline(time_base=Fraction(1, 10**9))
    nanoseconds = Fraction(1, 10**9)

    times = times_of(timeline, a_frame(7, time_base=nanoseconds), a_frame(33_333_340, time_base=nanoseconds))

    assert timeline.time_base == Fraction(1, 10**6)
    assert times == [0, Fraction(33_333, 10**6)]
