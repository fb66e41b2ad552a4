"""Places of lanes: who comes, who goes, who is followed and who waits."""

from __future__ import annotations

import weakref
from typing import Any, cast

import pytest

from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.settings import OutputTable
from posestream.pipeline.supervision.handles import LaneHandle
from posestream.pipeline.supervision.lanes import Lanes
from posestream.stages.errors import OutputError
from posestream.stages.source.opening import SourceSettings


class Lane:
    """A lane that notes what it is told."""

    def __init__(self, name: str, generation: int) -> None:
        self.name = name
        self.told = [f"made {generation}"]
        self.is_silent = self.has_died = False
        self.is_alive = True
        self.joins = 0
        self.has_left_source = False
        self.circle: list[Lane] = []
        self.source_error: Exception | None = None
        self.output_errors: list[OutputError] = []
        self.death = RuntimeError("it died")

    def join(self, _deadline_s: float) -> bool:
        self.joins += 1
        return not self.is_alive

    def __getattr__(self, word: str) -> Any:
        if word not in {"start", "stop", "kill", "pause", "resume"}:
            raise AttributeError(word)
        return lambda: self.told.append(word)


@pytest.fixture
def lanes() -> Lanes:
    """Places for lanes of this kind."""
    return Lanes(lambda source, _, generation: cast(LaneHandle, Lane(source.name, generation)))


def add(lanes: Lanes, name: str) -> Lane:
    """Add a source."""
    return cast(Lane, lanes.add(SourceSettings("a.mp4", name), LaneOutputs(OutputTable())))


def lane_of(lanes: Lanes, name: str) -> Lane:
    """Give the lane that a source has now."""
    return cast(Lane, lanes[name].part)


def test_who_comes_later_starts_at_once(lanes: Lanes) -> None:
    """Lanes of the beginning start together, later ones when they come."""
    first = add(lanes, "first")
    assert first.told == ["made 0"]
    lanes.start()
    later = add(lanes, "later")
    assert (first.told, later.told) == (["made 0", "start"], ["made 0", "start"])
    assert [source.name for source in lanes.sources] == ["first", "later"]


def test_nobody_follows_a_lane_that_was_removed(lanes: Lanes) -> None:
    """A removed lane drains; if it dies or hangs meanwhile it is not started again, and stays to be counted."""
    door, gate = add(lanes, "door"), add(lanes, "gate")
    lanes.start()
    lanes.remove("door")
    door.has_died = gate.has_died = True
    for now_s in (0.0, 1.0):
        lanes.watch(now_s)
    assert (door.told, lane_of(lanes, "door")) == (["made 0", "start", "stop"], door)
    assert lane_of(lanes, "gate").told == ["made 1", "start"]
    door.has_died, door.is_silent = False, True
    lanes.watch(2.0)
    assert door.told[-1] == "kill"


def test_a_lane_that_has_just_died_is_still_work_to_do(lanes: Lanes) -> None:
    """A run does not end between a lane's death and the look that finds it, nor before its successor has started."""
    door = add(lanes, "door")
    lanes.start()
    door.is_alive, door.has_died = False, True
    assert lanes.are_at_work(is_stopping=False)
    assert not lanes.are_at_work(is_stopping=True)
    lanes.watch(0.0)
    assert lanes["door"].is_waiting
    assert lanes.are_at_work(is_stopping=False)
    assert not lanes.are_at_work(is_stopping=True)
    lanes.watch(1.0)
    lane_of(lanes, "door").is_alive = False
    assert not lanes.are_at_work(is_stopping=False)


@pytest.mark.parametrize("end", ["retire", "exhausted"])
def test_a_dead_lane_that_nobody_follows_is_no_work(lanes: Lanes, end: str) -> None:
    """What was removed, or failed too often, does not keep a run going."""
    door = add(lanes, "door")
    lanes.start()
    door.is_alive, door.has_died = False, True
    if end == "retire":
        lanes["door"].retire()
    else:
        lanes["door"].give_up(door.death)
    assert not lanes.are_at_work(is_stopping=False)


def test_a_restart_that_was_due_is_called_off(lanes: Lanes) -> None:
    """A source that is removed between its lane's death and the successor's start has none."""
    add(lanes, "door").has_died = True
    lanes.start()
    lanes.watch(0.0)
    assert lanes["door"].is_waiting
    lanes.remove("door")
    lanes.watch(100.0)
    assert lanes["door"].restarts == 0


def test_who_follows_a_paused_lane_is_paused(lanes: Lanes) -> None:
    """A pause belongs to the source, not to the lane that happened to be there."""
    door = add(lanes, "door")
    lanes.start()
    lanes.pause("door")
    door.has_died = True
    lanes.watch(0.0)
    lanes.watch(0.0)
    assert lane_of(lanes, "door").told == ["made 1", "start", "pause"]
    lanes.resume("door")
    assert (lane_of(lanes, "door").told[-1], lanes.is_paused("door")) == ("resume", False)


def test_each_end_is_told_once(lanes: Lanes) -> None:
    """Who has ended for good is told once, who died and is followed is not; both let go of their pipes."""
    done, dead = add(lanes, "done"), add(lanes, "dead")
    lanes.start()
    assert lanes.watch(0.0) == []
    assert (done.joins, dead.joins) == (0, 0)
    done.is_alive = dead.is_alive = False
    dead.has_died = True
    assert lanes.watch(1.0) == ["done"]
    assert lanes.watch(2.0) == []
    assert (done.joins, dead.joins) == (1, 1)
    lane_of(lanes, "dead").is_alive = False
    assert lanes.watch(3.0) == ["dead"]


def test_a_name_that_nobody_has(lanes: Lanes) -> None:
    """Asking for a source that there is not is a KeyError."""
    with pytest.raises(KeyError, match="nobody"):
        lanes["nobody"]


def test_sources_may_come_and_go_for_ever() -> None:
    """Of the guests that went first only a sum is kept, their names stay taken, and what failed still counts."""
    forgotten: list[str] = []
    lanes = Lanes(lambda source, _, generation: cast(LaneHandle, Lane(source.name, generation)), forgotten.append)
    add(lanes, "first").is_alive = False
    lanes.start()
    for number in range(300):
        lane = add(lanes, f"guest-{number}")
        lanes.pause(lane.name)
        lanes.remove(lane.name)
        lane.is_alive = False
        if number == 7:
            lane.output_errors.append(OutputError("disk full"))
        lanes.watch(float(number))
        lanes.tidy(lambda _: FrameCounts(3, 2))
    assert forgotten == [f"guest-{number}" for number in range(200)]
    assert [slot.name for slot in lanes] == ["first", *(f"guest-{number}" for number in range(200, 300))]
    assert len(lanes.sources) == len(lanes.outputs) == len(lanes.parts) == 101
    assert (len(lanes.guests), len(lanes.past), "paused=['guest-2" in repr(lanes)) == (100, 200, True)
    assert ("guest-0" in lanes.past, "guest-199" in lanes.past, "guest-200" in lanes.past) == (True, True, False)
    assert (lanes.past.counts.taken, lanes.past.counts.posed) == (600, 400)
    assert lanes.past.exit_codes == {ExitCode.OUTPUT}


def test_a_guest_that_hangs_is_not_forgotten(lanes: Lanes) -> None:
    """A lane that ended without its source keeps its sockets, and the end of the run has to know."""
    lanes.start()
    for number in range(102):
        add(lanes, f"guest-{number}").is_alive = False
    lane_of(lanes, "guest-0").has_left_source = True
    lanes.watch(0.0)
    lanes.tidy(lambda _: FrameCounts())
    assert [slot.name for slot in lanes][:2] == ["guest-0", "guest-2"]


def test_what_is_left_of_lanes_is_freed() -> None:
    """A lane and its threads know each other; of those that are forgotten hardly any waits for Python's collector."""
    lanes = Lanes(lambda source, _, generation: cast(LaneHandle, Lane(source.name, generation)))
    lanes.start()
    seen = []
    for number in range(160):
        lane = add(lanes, f"guest-{number}")
        lane.circle = [lane]
        lane.is_alive = False
        seen.append(weakref.ref(lane))
        del lane
        lanes.watch(float(number))
        lanes.tidy(lambda _: FrameCounts())
    assert sum(one() is not None for one in seen) == 100
