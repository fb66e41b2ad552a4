"""How a run ends when something of it dies or hangs meanwhile."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from posestream.models.engines.base import Completed
from posestream.models.engines.fake import FakeEngine
from posestream.models.spec import NetworkSpec
from posestream.models.weights import WeightStore
from posestream.pipeline.errors import ExitCode, ReplicaError
from posestream.pipeline.job import plan_job
from posestream.pipeline.lane.process import LaneProcess
from posestream.pipeline.settings import Settings
from posestream.pipeline.supervision.crew import start_job
from posestream.pipeline.supervision.patience import Patience
from posestream.pipeline.supervision.supervisor import Supervisor

from .conftest import DEADLINE_S, Runs, Workshop, wait_until

#: A drain that never ends by itself: what ends in spite of it did not wait for it.
ENDLESS = Patience(drain_s=3600.0)
#: A stop that is over at once.
SHORT = Patience(drain_s=0.5, abandon_s=0.2, stop_s=0.5)

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals and fifos as POSIX has them")


class Mortal(FakeEngine):
    """Holds what it is given, and dies when it is told to."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec, is_manual=True)
        self.is_busy = threading.Event()
        self.shall_die = threading.Event()

    def submit(self, tickets: Sequence[int], images: Sequence[np.ndarray]) -> None:
        super().submit(tickets, images)
        self.is_busy.set()

    def completed(self) -> list[Completed]:
        if self.shall_die.is_set():
            raise ZeroDivisionError
        return super().completed()


def test_a_replica_that_dies_while_draining_is_followed_by_another(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path]
) -> None:
    """What was in flight at the stop is done, although the replica that held it died after the stop."""
    mortal = Mortal(workshop.spec)
    engines = iter([mortal])
    workshop.make = lambda spec: next(engines, None) or FakeEngine(spec)
    supervisor = runs.start({"source": [{"url": str(pictures(9))}]}, patience=ENDLESS)
    assert mortal.is_busy.wait(DEADLINE_S)
    supervisor.stop()
    mortal.shall_die.set()
    summary = runs.finish(supervisor)
    counts = summary.sources[0].counts
    assert counts.taken > 0
    assert (counts.posed, summary.replica_restarts) == (counts.taken, 1)
    assert summary.exit_code is ExitCode.DONE


def test_a_drain_that_no_replica_could_finish_is_a_failure(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path]
) -> None:
    """Frames that are dropped at the end of a drain since every replica is gone give 6 and one line."""
    mortal, is_left = Mortal(workshop.spec), threading.Event()
    engines = iter([mortal])

    class Loading(FakeEngine):
        """Is not ready before the run has ended."""

        def __init__(self, spec: NetworkSpec) -> None:
            is_left.wait(DEADLINE_S)
            super().__init__(spec)

    workshop.make = lambda spec: next(engines, None) or Loading(spec)
    supervisor = runs.start({"source": [{"url": str(pictures(9))}]}, patience=Patience(drain_s=1.0))
    assert mortal.is_busy.wait(DEADLINE_S)
    supervisor.stop()
    mortal.shall_die.set()
    wait_until(supervisor, lambda: not supervisor.is_running)
    is_left.set()
    summary = runs.finish(supervisor)
    taken = summary.sources[0].counts.taken
    assert summary.sources[0].counts.dropped == {"dispatch/stopped": taken}
    assert summary.exit_code is ExitCode.REPLICAS
    assert str(summary.error) == f"no replica was left to do the last {taken} frames"


def test_the_only_replica_that_hangs_and_is_a_thread_ends_the_run(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that never answers again gives 6 and what it hangs on, with what was finished before kept."""
    monkeypatch.setattr("posestream.pipeline.replica.infer_loop._HEARTBEAT_S", 0.05)
    may_close = threading.Event()

    class Stuck(FakeEngine):
        """Does one picture."""

        def __init__(self, spec: NetworkSpec) -> None:
            super().__init__(spec, is_manual=True)

        def submit(self, tickets: Sequence[int], images: Sequence[np.ndarray]) -> None:
            super().submit(tickets, images)
            if tickets[0] == 0:
                self.finish()

        def close(self) -> None:
            may_close.wait(DEADLINE_S)
            super().close()

    workshop.make = Stuck
    raw = {"source": [{"url": str(pictures(9))}], "replicas": {"hang_s": 0.3}}
    supervisor = runs.start(raw, patience=Patience(drain_s=1.0, stop_s=0.5, come_back_s=0.1, leave_s=0.5))
    wait_until(supervisor, lambda: not supervisor.is_running)
    summary = supervisor.close()
    counts = summary.sources[0].counts
    assert (counts.posed, counts.in_flight) == (1, 0)
    assert summary.exit_code is ExitCode.REPLICAS
    assert "replica-1 hangs: the inference of frame 1 of pictures has not ended for" in str(summary.error)
    may_close.set()
    runs.end_contexts()


def test_a_stop_with_nobody_to_work_ends_at_once(runs: Runs, workshop: Workshop, pictures: Callable[..., Path]) -> None:
    """A head that waits for workers drops what waits as stopped, without a drain, and that is no failure."""
    raw = {
        "source": [{"url": str(pictures(9))}],
        "replicas": {"devices": ["none"]},
        "pipeline": {"listen": ["tcp://127.0.0.1:*"]},
    }
    supervisor = runs.start(raw, patience=ENDLESS)
    wait_until(supervisor, lambda: supervisor.waiting("pictures"))
    supervisor.stop()
    summary = runs.finish(supervisor)
    counts = summary.sources[0].counts
    assert counts.dropped == {"dispatch/stopped": counts.taken}
    assert summary.exit_code is ExitCode.DONE


@needs_signals
def test_a_source_that_hangs_in_opening_is_not_waited_for(
    runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stop while a fifo waits for its writer ends the run with a line that names it, and is no failure."""
    fifo = tmp_path / "door.mp4"
    os.mkfifo(fifo)
    caplog.set_level(logging.WARNING, "posestream")
    supervisor = runs.start({"source": [{"url": str(fifo)}]}, patience=ENDLESS)
    supervisor.stop()
    wait_until(supervisor, lambda: not supervisor.is_running)
    summary = supervisor.close()
    assert (summary.exit_code, summary.sources[0].error) == (ExitCode.DONE, None)
    assert "door does not answer; it is not waited for" in caplog.messages
    os.close(os.open(fifo, os.O_WRONLY))  # the thread that hung goes on, and ends
    runs.end_contexts()
    assert supervisor.lanes[0].join(DEADLINE_S)


def lane_process(supervisor: Supervisor) -> int:
    """Wait until the lane's process is at work, and give its number."""
    (lane,) = supervisor.lanes
    wait_until(supervisor, lambda: supervisor.counts(lane.name).posed)
    assert isinstance(lane, LaneProcess)
    assert lane.pid is not None
    return lane.pid


@contextmanager
def started_processes(patience: Patience) -> Iterator[Supervisor]:
    """Start a run of real processes on a device that only pretends; they end with the test, also where it fails."""
    raw = {
        "source": [{"url": "synthetic:64x64"}],
        "network": {"net_height": 64},
        "replicas": {"devices": ["simulated:50"]},
        "pipeline": {"mode": "processes"},
    }
    supervisor = start_job(plan_job(Settings.parse(raw), WeightStore.from_environment()), patience=patience)
    try:
        yield supervisor
    finally:
        if any(lane.is_alive for lane in supervisor.lanes):
            supervisor.close()


@pytest.fixture
def processes() -> Iterator[Supervisor]:
    """Start a run of real processes whose stop is short."""
    with started_processes(SHORT) as supervisor:
        yield supervisor


@needs_signals
def test_a_lane_that_hangs_is_killed_and_told(processes: Supervisor) -> None:
    """A lane's process that hangs at the stop is killed after the waits: 6, and a line that names it."""
    pid = lane_process(processes)
    os.kill(pid, signal.SIGSTOP)
    processes.stop()
    wait_until(processes, lambda: not processes.is_running)
    summary = processes.close()
    assert summary.exit_code is ExitCode.REPLICAS
    error = summary.sources[0].error
    assert isinstance(error, ReplicaError)
    assert str(error).startswith(f"the lane of {summary.sources[0].name} hung")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@needs_signals
def test_a_lane_that_dies_while_draining_is_told(processes: Supervisor) -> None:
    """A lane's process that is killed during the drain is not followed by another, and gives 6."""
    pid = lane_process(processes)
    os.kill(pid, signal.SIGSTOP)  # so that it does not finish before it dies
    processes.stop()
    os.kill(pid, signal.SIGKILL)
    wait_until(processes, lambda: not processes.is_running)
    summary = processes.close()
    assert summary.exit_code is ExitCode.REPLICAS
    assert str(summary.sources[0].error) == f"the lane of {summary.sources[0].name} was killed by signal 9"
    assert summary.sources[0].restarts == 0


@needs_signals
def test_a_lane_that_hangs_does_not_hold_up_a_drain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A lane's process that falls silent while the run drains is killed as at any time, however long a drain may be."""
    with started_processes(ENDLESS) as supervisor:
        os.kill(lane_process(supervisor), signal.SIGSTOP)
        monkeypatch.setattr("posestream.pipeline.lane.process.SILENCE_S", 2.0)
        supervisor.stop()
        wait_until(supervisor, lambda: not supervisor.is_running)
        summary = supervisor.close()
    (report,) = summary.sources
    assert caplog.messages.count(f"the lane of {report.name} hangs; it is killed") == 1
    assert str(report.error).startswith(f"the lane of {report.name} hung")
    assert (summary.exit_code, report.is_cut) == (ExitCode.REPLICAS, True)
