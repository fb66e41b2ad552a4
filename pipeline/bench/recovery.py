"""`bench recovery`: how long frames of a replica that was killed wait for another one."""

from __future__ import annotations

import os
import signal
import time

import click

from posestream.pipeline.bench.measure import median, report
from posestream.pipeline.bench.scale import finish, simulated_job, wait_for_replicas
from posestream.pipeline.replica.process import ReplicaProcess
from posestream.pipeline.supervision.supervisor import Supervisor

__all__ = ["measure_recovery"]

#: Longest wait for a result, in seconds.
_PATIENCE_S = 30.0
#: How exactly the result is timed, in seconds.
_TICK_S = 0.002
#: How often the supervisor looks after its parts, as in a run, in seconds.
_LOOK_S = 0.1


def measure_recovery(replicas: int, service_ms: float, rounds: int) -> None:
    """Kill one replica after another while all of them work, and print the report."""
    supervisor = simulated_job([f"simulated:{service_ms:g}"] * replicas, "processes")
    times_s: list[float] = []
    try:
        for number in range(rounds):
            wait_for_replicas(supervisor)
            times_s.append(_recovery_s(supervisor, number % replicas))
            click.echo(f"round {number + 1}: {times_s[-1] * 1000:.0f} ms", err=True)
    finally:
        summary = finish(supervisor)
    report(
        {
            "bench": "recovery",
            "replicas": replicas,
            "service_ms": service_ms,
            "rounds": rounds,
            "median_s": median(times_s),
            "max_s": round(max(times_s), 3),
            "runs": [{"round": number, "s": round(time_s, 3)} for number, time_s in enumerate(times_s, 1)],
            "dropped": dict(summary.sources[0].counts.dropped),
        }
    )


def _recovery_s(supervisor: Supervisor, number: int) -> float:
    """Kill one replica while it holds frames; give the time until the first result of one of these."""
    victim = supervisor.replicas[number]
    assert isinstance(victim, ReplicaProcess)  # noqa: S101 - the job is one of processes
    assert victim.pid is not None  # noqa: S101 - it has been at work
    _wait_for_work(supervisor, victim.name)
    before = supervisor.recovered
    os.kill(victim.pid, signal.SIGKILL)
    killed_s = looked_s = time.monotonic()
    while time.monotonic() - killed_s < _PATIENCE_S:
        time.sleep(_TICK_S)
        if supervisor.recovered > before:
            return time.monotonic() - killed_s
        # No sooner than in a run, where it is looked so often.
        if time.monotonic() - looked_s >= _LOOK_S:
            looked_s = time.monotonic()
            supervisor.wait(0)
    raise RuntimeError(f"no frame of {victim.name} came back in {_PATIENCE_S:g} s: {supervisor!r}")


def _wait_for_work(supervisor: Supervisor, replica: str) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        if any(view.name == replica and view.held for view in supervisor.replica_views):
            return
        supervisor.wait(_TICK_S)
    raise RuntimeError(f"{replica} was given no work: {supervisor!r}")
