"""A run that is stopped while its parts still load: nothing was begun, so nothing is waited for."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posestream.models.engines.fake import FakeEngine
from posestream.models.spec import NetworkSpec
from posestream.models.weights import WeightStore
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.job import plan_job
from posestream.pipeline.lane.process import LaneProcess
from posestream.pipeline.replica.process import ReplicaProcess
from posestream.pipeline.settings import Settings
from posestream.pipeline.summary import Summary
from posestream.pipeline.supervision.crew import start_job
from posestream.pipeline.supervision.patience import Patience
from posestream.pipeline.supervision.supervisor import Supervisor

from .conftest import DEADLINE_S, Runs, Workshop, wait_until

#: Waits that never end by themselves: what ends in spite of them was not waited for.
ENDLESS = Patience(drain_s=3600.0, stop_s=3600.0, load_s=0.0)

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


def start_processes(path: Path, *, resume: bool = False, max_frames: int | None = None) -> Supervisor:
    """Start a run of real processes on a device that only pretends, with lines in a file."""
    raw: dict[str, Any] = {
        "source": [{"url": "synthetic:64x64", "name": "door", "max_frames": max_frames}],
        "network": {"net_height": 64},
        "replicas": {"devices": ["simulated:50"]},
        "pipeline": {"mode": "processes"},
        "output": {"jsonl": {"path": str(path)}, "resume": resume},
    }
    return start_job(plan_job(Settings.parse(raw), WeightStore.from_environment()), patience=ENDLESS)


def freeze(part: object) -> None:
    """Stop a process, so that it never goes on by itself, nor hears what it is told."""
    assert isinstance(part, LaneProcess | ReplicaProcess)
    assert part.pid is not None
    os.kill(part.pid, signal.SIGSTOP)


def stop(supervisor: Supervisor) -> Summary:
    """Stop a run and close it when its lanes have ended."""
    supervisor.stop()
    wait_until(supervisor, lambda: not supervisor.is_running)
    return supervisor.close()


@needs_signals
def test_processes_that_still_load_are_killed(tmp_path: Path) -> None:
    """A lane and a replica that were never heard hold up no stop; no file was begun, and `--resume` does it all."""
    supervisor = start_processes(tmp_path / "a.jsonl")
    freeze(supervisor.lanes[0])
    freeze(supervisor.replicas[0])
    summary = stop(supervisor)
    (report,) = summary.sources
    assert (summary.exit_code, report.error, report.is_cut) == (ExitCode.DONE, None, False)
    assert report.counts.taken == 0
    assert list(tmp_path.iterdir()) == []
    again = start_processes(tmp_path / "a.jsonl", resume=True, max_frames=3)
    wait_until(again, lambda: not again.is_running)
    assert again.close().exit_code is ExitCode.DONE
    assert len((tmp_path / "a.jsonl").read_text("utf-8").splitlines()) == 3


@needs_signals
def test_a_successor_that_still_loads_is_killed_and_told(tmp_path: Path) -> None:
    """Where a lane died with frames of its own, its successor's end before it went on gives 6 and says so."""
    supervisor = start_processes(tmp_path / "a.jsonl")
    wait_until(supervisor, lambda: supervisor.counts("door").posed)
    supervisor.lanes[0].kill()
    wait_until(supervisor, lambda: supervisor.restarts("door"))
    freeze(supervisor.lanes[0])
    summary = stop(supervisor)
    (report,) = summary.sources
    assert (summary.exit_code, report.is_cut) == (ExitCode.REPLICAS, True)
    assert str(report.error) == "the lane of door had died, and was stopped before it went on"


def test_frames_whose_engine_still_loads_are_dropped_at_once(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Engines that load, maybe for minutes, are not waited for: what waits for them is dropped as stopped, and 0."""
    caplog.set_level(logging.INFO, "posestream")
    may_load = threading.Event()

    class Loading(FakeEngine):
        """Is not ready before the run has ended."""

        def __init__(self, spec: NetworkSpec) -> None:
            may_load.wait(DEADLINE_S)
            super().__init__(spec)

    workshop.make = Loading
    supervisor = runs.start({"source": [{"url": str(pictures(9))}]}, patience=ENDLESS)
    wait_until(supervisor, lambda: supervisor.waiting("pictures"))
    summary = stop(supervisor)
    counts = summary.sources[0].counts
    assert counts.dropped == {"dispatch/stopped": counts.taken}
    assert summary.exit_code is ExitCode.DONE
    assert "replica-1 still loads; it is not waited for" in caplog.messages
    assert not [message for message in caplog.messages if "in time" in message]
    may_load.set()
    runs.end_contexts()
    assert supervisor.replicas[0].join(DEADLINE_S)
