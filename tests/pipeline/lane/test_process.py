"""When a lane's process is taken for hung."""

from __future__ import annotations

from typing import Any

import pytest

from posestream.pipeline.dispatch.told import Report
from posestream.pipeline.lane import process as process_module
from posestream.pipeline.lane.child import LaneConfig
from posestream.pipeline.lane.lane import LanePlan
from posestream.pipeline.lane.process import SILENCE_S, START_S, LaneProcess
from posestream.pipeline.settings import OutputTable
from posestream.pipeline.supervision.process import LogOptions
from posestream.pipeline.wire.messages import LaneReport
from posestream.pipeline.wire.sockets import Addresses
from posestream.stages.source.opening import SourceSettings


class FakeChild:
    """A process that lives and does nothing."""

    is_alive = True

    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass


class FakeDispatch:
    """Has listened for as long as a test says."""

    def __init__(self) -> None:
        self.listened_s = 1000.0
        self.last: Report | None = None

    def report(self, _source: str) -> Report | None:
        return self.last

    def forget_report(self, _source: str) -> None:
        self.last = None


@pytest.fixture
def dispatch() -> FakeDispatch:
    """What a lane's handle knows of the time."""
    return FakeDispatch()


@pytest.fixture
def lane(dispatch: Any, monkeypatch: pytest.MonkeyPatch) -> LaneProcess:
    """A lane whose process has just been started."""
    monkeypatch.setattr(process_module, "ChildProcess", FakeChild)
    plan = LanePlan("run", 64, 8, "some", "openpose-18", 4)
    config = LaneConfig(plan, Addresses.inproc("run"), SourceSettings("clip.mp4", name="clip"), OutputTable(), False)
    made = LaneProcess(config, dispatch, LogOptions())
    made.start()
    return made


def test_one_that_loads_has_minutes(lane: LaneProcess, dispatch: FakeDispatch) -> None:
    """Before its first report a busy machine, or outputs to be read, may keep it long; but not for ever."""
    dispatch.listened_s += START_S - 1
    assert not lane.is_silent
    dispatch.listened_s += 2
    assert lane.is_silent


def test_one_that_has_spoken_must_go_on(lane: LaneProcess, dispatch: FakeDispatch) -> None:
    """After a report the next ones must come within seconds in which somebody listened."""
    told = LaneReport("clip", False, 0, 0, 0, None, None, None, (), 0, "", ())
    dispatch.listened_s += START_S - 1
    dispatch.last = Report(told, (), dispatch.listened_s)
    dispatch.listened_s += SILENCE_S - 1
    assert not lane.is_silent
    dispatch.listened_s += 2
    assert lane.is_silent
