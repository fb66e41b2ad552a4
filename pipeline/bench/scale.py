"""`bench scale`: how near so many replicas come to so many times the speed of one, on devices that only pretend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import click

from posestream.models.engines.simulated import BATCH
from posestream.models.weights import WeightStore
from posestream.pipeline.bench.measure import median, report
from posestream.pipeline.job import plan_job
from posestream.pipeline.settings import Settings
from posestream.pipeline.summary import Summary
from posestream.pipeline.supervision.crew import start_job
from posestream.pipeline.supervision.supervisor import Supervisor

__all__ = ["ScalePlan", "finish", "measure_scale", "simulated_job", "wait_for_replicas"]

#: The synthetic frames' size: that of the network input, so that nothing is decoded and nothing scaled.
_SOURCE = "synthetic:456x256"
#: How long the replicas may take to start, in seconds: many processes load at once on few cores.
_START_S = 120.0
#: Work before the measurement begins, in seconds.
_WARM_UP_S = 1.0
#: How often the supervisor looks after its parts, as in a run, in seconds.
_LOOK_S = 0.1

Mode = Literal["threads", "processes"]


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """What `bench scale` is to measure."""

    replicas: Sequence[int]
    service_ms: float
    #: More for each picture of an inference, which then takes several of them together; None: one at a time.
    each_ms: float | None
    mode: Mode
    seconds: float
    rounds: int

    @property
    def device(self) -> str:
        """The device string of each replica."""
        each = "" if self.each_ms is None else f"+{self.each_ms:g}"
        return f"simulated:{self.service_ms:g}{each}"

    @property
    def best_fps(self) -> float:
        """Frames per second of one device that is never idle, and whose batches are always full."""
        batch = 1 if self.each_ms is None else BATCH
        return batch * 1000 / (self.service_ms + batch * (self.each_ms or 0.0))


def measure_scale(plan: ScalePlan) -> None:
    """Measure each number of replicas and print the report."""
    fps: dict[int, list[float]] = {replicas: [] for replicas in plan.replicas}
    for number in range(1, plan.rounds + 1):
        for replicas in plan.replicas:
            fps[replicas].append(_fps(plan, replicas))
            click.echo(f"round {number}: {replicas} replicas, {fps[replicas][-1]:.1f} fps", err=True)
    medians = {replicas: median(speeds) for replicas, speeds in fps.items()}
    report(
        {
            "bench": "scale",
            "mode": plan.mode,
            "service_ms": plan.service_ms,
            "each_ms": plan.each_ms,
            "runs": [
                {"replicas": n, "fps": speed, "fraction": round(speed / plan.best_fps / n, 4)}
                for n, speed in medians.items()
            ],
        }
    )


def simulated_job(devices: Sequence[str], mode: Mode) -> Supervisor:
    """Start a job on simulated devices that takes synthetic frames as fast as it can."""
    settings = Settings.parse(
        {"source": [{"url": _SOURCE}], "replicas": {"devices": tuple(devices)}, "pipeline": {"mode": mode}}
    )
    return start_job(plan_job(settings, WeightStore.from_environment()))


def wait_for_replicas(supervisor: Supervisor) -> str:
    """Wait until every replica is at work, and give the name of the only source.

    Raises:
        RuntimeError: they did not come.
    """
    name = supervisor.lanes[0].name
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s and not supervisor.has_crashed:
        supervisor.wait(_LOOK_S)
        if all(replica.description for replica in supervisor.replicas) and supervisor.counts(name).posed:
            return name
    raise RuntimeError(f"the replicas did not start: {supervisor!r}")


def finish(supervisor: Supervisor) -> Summary:
    """Let what is in flight come to its end, then end everything."""
    supervisor.stop()
    while supervisor.is_running and not supervisor.has_crashed:
        supervisor.wait(_LOOK_S)
    return supervisor.close()


def _fps(plan: ScalePlan, replicas: int) -> float:
    """Give the frames per second while every replica is at work."""
    supervisor = simulated_job([plan.device] * replicas, plan.mode)
    try:
        name = wait_for_replicas(supervisor)
        _run_for(supervisor, _WARM_UP_S)
        posed, started_s = supervisor.counts(name).posed, time.monotonic()
        _run_for(supervisor, plan.seconds)
        return (supervisor.counts(name).posed - posed) / (time.monotonic() - started_s)
    finally:
        finish(supervisor)


def _run_for(supervisor: Supervisor, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while (left_s := deadline_s - time.monotonic()) > 0:
        supervisor.wait(min(_LOOK_S, left_s))
