"""`bench live`: how old results of live streams are, how many frames are dropped and why, and what a frame costs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from posestream.pipeline.bench.cost import process_cpu_s
from posestream.pipeline.bench.measure import report
from posestream.pipeline.bench.rtsp_server import RtspServer
from posestream.pipeline.bench.streams import followed, served_clip, wait_until
from posestream.pipeline.settings import Settings

__all__ = ["LivePlan", "measure_live"]

#: Time between the first results and the measurement, in seconds: caches fill and every stream is there.
_WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What `bench live` is to measure."""

    streams: Sequence[int]
    fps: int
    seconds: float


def measure_live(settings: Settings, file: str | None, plan: LivePlan) -> None:
    """Measure each number of streams and print the report."""
    runs = []
    with served_clip(file, plan.fps) as server:
        for streams in plan.streams:
            runs.append(_measure(settings, server, streams, plan.seconds))
            click.echo(f"{streams} streams: {runs[-1]}", err=True)
    report({"bench": "live", "fps": plan.fps, "seconds": plan.seconds, "runs": runs})


def _measure(settings: Settings, server: RtspServer, streams: int, seconds: float) -> dict[str, Any]:
    names = [f"stream-{number}" for number in range(1, streams + 1)]
    sources = [{"url": f"rtsp://127.0.0.1:{server.port}/live", "name": name} for name in names]
    with followed(settings, sources) as (supervisor, notes):
        wait_until(supervisor, lambda: all(supervisor.counts(name).posed for name in names))
        warm_s = time.monotonic() + _WARM_UP_S
        wait_until(supervisor, lambda: time.monotonic() >= warm_s)
        notes.forget()
        began_s, cpu_s, server_cpu_s = time.monotonic(), time.process_time(), process_cpu_s(server.pid or 0)
        wait_until(supervisor, lambda: time.monotonic() - began_s >= seconds)
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
        server_cpu_s = process_cpu_s(server.pid or 0) - server_cpu_s
        told = {name: notes.of(name) for name in names}
        infer_s = [lane.progress.latency["infer"].percentile_s(50) or 0.0 for lane in supervisor.lanes]
    posed = {name: sum(not note.drop for note in mine) for name, mine in told.items()}
    ended = [note for mine in told.values() for note in mine]
    ages_ms = np.array([note.age_s for note in ended if not note.drop]) * 1000
    mean = sum(posed.values()) / streams
    return {
        "streams": streams,
        "age_p50_ms": round(float(np.percentile(ages_ms, 50)), 1),
        "age_p99_ms": round(float(np.percentile(ages_ms, 99)), 1),
        "fps_in": round(len(ended) / took_s, 1),
        "fps_out": round(len(ages_ms) / took_s, 1),
        "dropped": dict(Counter(note.drop for note in ended if note.drop)),
        "infer_p50_ms": round(float(np.median(infer_s)) * 1000, 1),
        "cpu_ms_per_frame_in": round(cpu_s / len(ended) * 1000, 2),
        "cpu_ms_per_frame_out": round(cpu_s / len(ages_ms) * 1000, 2),
        "server_cpu": round(server_cpu_s / took_s, 3),
        # How far the stream that fares worst or best is from its fair share.
        "unfairness": round(max(abs(count - mean) for count in posed.values()) / mean, 4),
    }
