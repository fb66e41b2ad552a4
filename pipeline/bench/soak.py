"""`bench soak`: streams whose server is killed again and again: how soon they are back, and whether memory grows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np

from posestream.pipeline.bench.cost import resident_mb
from posestream.pipeline.bench.measure import report
from posestream.pipeline.bench.rtsp_server import RtspServer
from posestream.pipeline.bench.streams import Notes, followed, served_clip, wait_until
from posestream.pipeline.settings import Settings
from posestream.pipeline.supervision.supervisor import Supervisor

__all__ = ["SoakPlan", "measure_soak"]

#: The waits between attempts, in seconds.
_RECONNECT = {"min_s": 0.25, "max_s": 1.0}
#: How long the server stays away, in seconds: long enough for the waits to reach their longest.
_AWAY_S = 4.0
#: Memory is looked at so often, and counts from then on, in seconds.
_SAMPLE_S, _SETTLED_S = 1.0, 60.0
#: How often it is looked whether a stream is back, in seconds.
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """What `bench soak` is to do."""

    seconds: float
    streams: int
    kills: int
    fps: int = 25


@dataclass(slots=True)
class _Memory:
    """The memory of this process, sample by sample."""

    began_s: float = field(default_factory=time.monotonic)
    samples: list[tuple[float, float]] = field(default_factory=list)

    def sample(self) -> None:
        """Look, if it is time."""
        at_s = time.monotonic() - self.began_s
        if not self.samples or at_s - self.samples[-1][0] >= _SAMPLE_S:
            self.samples.append((at_s, resident_mb()))

    def slope_mb_per_min(self) -> float | None:
        """Give how it grows after the first minute, by least squares; None where that is too short to tell."""
        settled = np.array([sample for sample in self.samples if sample[0] >= _SETTLED_S])
        if len(settled) < 10:
            return None
        return round(float(np.polyfit(settled[:, 0] / 60, settled[:, 1], 1)[0]), 3)


def measure_soak(settings: Settings, file: str | None, plan: SoakPlan) -> None:
    """Run for the whole time, with the kills spread over it, and print the report."""
    names = [f"stream-{number}" for number in range(1, plan.streams + 1)]
    with served_clip(file, plan.fps) as server:
        address = f"rtsp://127.0.0.1:{server.port}/live"
        sources = [{"url": address, "name": name, "reconnect": _RECONNECT} for name in names]
        with followed(settings, sources) as (supervisor, notes):
            memory, back_s = _soak(plan, names, server, supervisor, notes)
            counts = [supervisor.counts(name) for name in names]
            runs: list[dict[str, Any]] = [
                {
                    "streams": plan.streams,
                    "kills": plan.kills,
                    "back_s": back_s,
                    "back_most_s": max(back_s, default=None),
                    "memory_mb": [round(mb, 1) for _, mb in memory.samples[:: max(1, len(memory.samples) // 20)]],
                    "memory_mb_per_min": memory.slope_mb_per_min(),
                    "posed": sum(count.posed for count in counts),
                    "taken": sum(count.taken for count in counts),
                }
            ]
    report({"bench": "soak", "seconds": plan.seconds, "runs": runs})


def _soak(
    plan: SoakPlan, names: list[str], server: RtspServer, supervisor: Supervisor, notes: Notes
) -> tuple[_Memory, list[float]]:
    """Let it run; give its memory, and after each kill how long it took until the last stream was back."""
    wait_until(supervisor, lambda: all(supervisor.counts(name).posed for name in names))
    memory, back_s = _Memory(), []
    for kill in range(1, plan.kills + 1):
        _run_until(memory, supervisor, notes, plan.seconds * kill / (plan.kills + 1))
        server.kill()
        _run_until(memory, supervisor, notes, time.monotonic() - memory.began_s + _AWAY_S)
        notes.forget()
        server.start()
        returned_s = time.monotonic()
        wait_until(supervisor, lambda: all(_is_posed(notes, name) for name in names), _LOOK_S)
        back_s.append(round(time.monotonic() - returned_s, 3))
        click.echo(f"kill {kill}: back after {back_s[-1]:.2f} s, {resident_mb():.0f} MB", err=True)
    _run_until(memory, supervisor, notes, plan.seconds)
    return memory, back_s


def _is_posed(notes: Notes, name: str) -> bool:
    return any(not note.drop for note in notes.of(name))


def _run_until(memory: _Memory, supervisor: Supervisor, notes: Notes, at_s: float) -> None:
    """Let it run on until so many seconds after its beginning; what was noted is not kept, for it would be growth."""
    while time.monotonic() - memory.began_s < at_s:
        supervisor.wait(_LOOK_S * 10)
        memory.sample()
        notes.forget()
