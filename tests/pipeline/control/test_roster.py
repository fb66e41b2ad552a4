"""What a run answers about its sources, whatever goes wrong meanwhile."""

from __future__ import annotations

import json
import logging
from typing import Any, cast

import pytest

from posestream.pipeline.control import roster
from posestream.pipeline.control.roster import Roster
from posestream.pipeline.job import Job
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.pipeline.wire.control import AddSource, Refused


class FakePlaces:
    """No sources."""

    sources = outputs = past = ()


class FakeSupervisor:
    """Takes whatever comes."""

    places = FakePlaces()
    is_taking = True


def test_a_fault_in_an_addition_ends_no_run(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the program is logged with its traceback and answered as one, without secrets; nothing is raised."""

    def plan(*_: Any) -> Any:
        raise ValueError("embedded null byte in rtsp://me:secret@door/x\ud800")

    monkeypatch.setattr(roster, "plan_source", plan)
    asked = Roster(cast(Job, None), cast(Supervisor, FakeSupervisor()), lambda _: None)
    answer = asked.answer(AddSource(json.dumps({"url": "rtsp://door/x"})))
    assert answer == Refused(
        1,
        "internal error, which the run's log tells of: ValueError: embedded null byte in rtsp://door/x\\ud800",
    )
    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (logging.ERROR, True)
