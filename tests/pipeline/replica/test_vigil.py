"""When a replica takes an inference or a grouping for hung, and when it does not."""

from __future__ import annotations

import pytest

from posestream.pipeline.replica.vigil import Vigil
from posestream.stages.items import FrameKey

SIZE, OTHER_SIZE = (256, 456), (368, 656)
HANG_S = 30.0


class Clock:
    """A work loop that looks twice a second."""

    def __init__(self, vigil: Vigil) -> None:
        self._vigil = vigil
        self._now_s = 1000.0
        self._vigil.look(self._now_s)

    def run(self, seconds: float) -> None:
        """Go round for so long."""
        for _ in range(round(seconds * 2)):
            self._now_s += 0.5
            self._vigil.look(self._now_s)

    def jump(self, seconds: float) -> None:
        """Be stopped for so long, and go round once."""
        self._now_s += seconds
        self._vigil.look(self._now_s)


@pytest.fixture
def vigil() -> Vigil:
    """One that has heard nothing."""
    return Vigil(HANG_S)


@pytest.fixture
def clock(vigil: Vigil) -> Clock:
    """Its work loop."""
    return Clock(vigil)


def key(seq: int) -> FrameKey:
    """Name a frame."""
    return FrameKey("door", seq)


def test_the_first_inferences_of_a_size_may_take_as_long_as_loading(vigil: Vigil, clock: Clock) -> None:
    """Libraries plan and tune in them: three minutes are no hang, a little more are one that is named."""
    vigil.begun(0, key(7), SIZE)
    clock.run(180.0)
    assert not vigil.overdue()
    clock.run(1.0)
    assert vigil.overdue() == "the inference of frame 7 of door has not ended for 181 s"
    vigil.ended(0)
    assert not vigil.overdue()


def test_later_ones_may_take_ten_times_the_longest_and_some_seconds(vigil: Vigil, clock: Clock) -> None:
    """What is long is learnt for each size; an inference that failed early teaches nothing."""
    for ticket, took_s in enumerate((2.0, 4.0, 1.0)):
        vigil.begun(ticket, key(ticket), SIZE)
        clock.run(took_s)
        vigil.ended(ticket)
    vigil.begun(3, key(3), OTHER_SIZE)
    vigil.ended(3, has_failed=True)
    vigil.begun(4, key(4), SIZE)
    vigil.begun(5, key(5), OTHER_SIZE)
    clock.run(HANG_S + 40.0)
    assert not vigil.overdue()
    clock.run(0.5)
    assert "frame 4" in vigil.overdue()
    vigil.ended(4)
    assert not vigil.overdue()


def test_one_that_hangs_among_others_that_end_is_found(vigil: Vigil, clock: Clock) -> None:
    """An engine that goes on with other requests hides none that never ends."""
    vigil.begun(0, key(0), SIZE)
    clock.run(1.0)
    vigil.ended(0)
    vigil.begun(1, key(1), SIZE)
    for ticket in range(2, 60):
        vigil.begun(ticket, key(ticket), SIZE)
        clock.run(1.0)
        vigil.ended(ticket)
    assert "frame 1 " in vigil.overdue()


def test_time_in_which_the_loop_stood_still_counts_for_nothing(vigil: Vigil, clock: Clock) -> None:
    """A process that was stopped for an hour had no chance to hear that an inference had ended."""
    vigil.begun(0, key(0), SIZE)
    vigil.ended(0)
    vigil.begun(1, key(1), SIZE)
    vigil.grouping(key(0))
    clock.jump(3600.0)
    assert not vigil.overdue()
    clock.run(HANG_S)
    assert vigil.overdue()


def test_a_grouping_is_measured_from_when_the_one_before_had_ended(vigil: Vigil, clock: Clock) -> None:
    """Frames that wait for grouping are late because of others; one that hangs it is named."""
    for seq in range(20):
        vigil.grouping(key(seq))
    for _ in range(19):
        clock.run(3.0)
        vigil.grouped()
        assert not vigil.overdue()
    clock.run(HANG_S + 30.0)
    assert not vigil.overdue()
    clock.run(0.5)
    assert vigil.overdue() == "the grouping of frame 19 of door has not ended for 60 s"
    vigil.grouped()
    clock.run(1000.0)
    assert not vigil.overdue()
