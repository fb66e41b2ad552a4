"""`bench pipeline`: the whole pipeline over a clip beside the bare network, interleaved in one run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click
import numpy as np

from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.bench.cost import children_of, cpu_s, process_cpu_s
from posestream.pipeline.bench.limits import Parts, measure_parts
from posestream.pipeline.bench.measure import Speed, engine_for, median, network_speed, report
from posestream.pipeline.job import plan_job
from posestream.pipeline.lane.state import LaneProgress
from posestream.pipeline.settings import OutputTable, Settings
from posestream.pipeline.summary import Summary
from posestream.pipeline.supervision.crew import start_job
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended
from posestream.stages.output.video import VideoSettings
from posestream.stages.preprocess import letterbox
from posestream.stages.source.opening import SourceInfo, SourceSettings, open_source

__all__ = ["measure_pipeline"]

#: How often frames and CPU time of processes are looked at, in seconds.
_LOOK_S = 0.05


class _Probe:
    """An output that notes when frames end, and what the process has cost by then."""

    def __init__(self) -> None:
        self.name = "probe"
        self.paths: tuple[Path, ...] = ()
        self._marks: list[tuple[float, float]] = []

    def resume(self, source: str, since_s: float) -> Held | None:  # noqa: ARG002 - nothing is kept
        """Give None: nothing is kept."""
        return None

    def open(self, info: SourceInfo) -> None:
        """Nothing is to be opened."""

    def write(self, ended: Ended) -> None:  # noqa: ARG002 - only the moment counts
        """Note the moment."""
        self._marks.append((time.perf_counter(), time.process_time()))

    def close(self) -> None:
        """Nothing is to be closed."""

    @property
    def speed(self) -> Speed:
        """How fast frames ended, from the first to the last."""
        frames = len(self._marks) - 1
        (wall_s, cpu_s), (end_s, cpu_end_s) = self._marks[0], self._marks[-1]
        return Speed(frames / (end_s - wall_s), (cpu_end_s - cpu_s) / frames * 1000)


def measure_pipeline(settings: Settings, file: str, rounds: int) -> None:
    """Measure bare network, bare parts, and pipelines in threads, with video and in processes, in turn; report."""
    height = settings.network.net_height
    with open_source(SourceSettings(file)) as source:
        info = source.open()
    size = letterbox(info.width, info.height, height)
    image = np.random.default_rng(0).integers(0, 256, (size.height_net, size.width_net, 3), np.uint8)
    name, open_engine = engine_for(settings)
    fresh = _fresh_run(settings, file)
    spec = load_registry()[name]
    network, parts, keypoints, video, processes = [], [], [], [], []
    progress = LaneProgress()
    for number in range(1, rounds + 1):
        with closing(open_engine()) as engine:
            engine.prepare(size.height_net, size.width_net)
            network.append(network_speed(engine, image, info.frame_count or 200))
            description = engine.description
        parts.append(measure_parts(settings, file, size, spec, open_engine))
        speed, progress = _pipeline_speed(settings, file, OutputTable())
        keypoints.append(speed)
        with tempfile.TemporaryDirectory() as folder:
            outputs = OutputTable(video=VideoSettings(Path(folder) / "bench.mp4"))
            video.append(_pipeline_speed(settings, file, outputs)[0])
        processes.append(_processes_speed(settings, file))
        click.echo(
            f"round {number}: network {network[-1].fps:.1f} fps, pipeline {keypoints[-1].fps:.1f} fps, "
            f"with video {video[-1].fps:.1f} fps, in processes {processes[-1].fps:.1f} fps; "
            f"bare parts {parts[-1].total_ms:.1f} ms of CPU a frame, {parts[-1].limit_fps:.1f} fps at best",
            err=True,
        )
    report(
        {
            "bench": "pipeline",
            "file": Path(file).name,
            "model": name,
            "engine": description,
            "net_size": [size.width_net, size.height_net],
            "fps": median([speed.fps for speed in keypoints]),
            "cpu_ms_per_frame": median([speed.cpu_ms_per_frame for speed in keypoints]),
            "network_fps": median([speed.fps for speed in network]),
            "network_cpu_ms_per_frame": median([speed.cpu_ms_per_frame for speed in network]),
            "efficiency": median([a.fps / b.fps for a, b in zip(keypoints, network, strict=True)]),
            "video_fps": median([speed.fps for speed in video]),
            "video_cpu_ms_per_frame": median([speed.cpu_ms_per_frame for speed in video]),
            **_limits(parts, keypoints, processes),
            **_latencies(progress),
            **fresh,
        }
    )


def _limits(parts: list[Parts], threads: list[Speed], processes: list[Speed]) -> dict[str, float]:
    """Compare pipelines with the bare parts of the same round."""
    figures = {
        f"{name}_cpu_ms_per_frame": median([getattr(one, f"{name}_ms") for one in parts])
        for name in ("decode", "scale", "engine", "group")
    }
    figures |= {
        "parts_fps": median([one.fps for one in parts]),
        "limit_fps": median([one.limit_fps for one in parts]),
        "processes_fps": median([speed.fps for speed in processes]),
        "processes_cpu_ms_per_frame": median([speed.cpu_ms_per_frame for speed in processes]),
    }
    for prefix, speeds in (("", threads), ("processes_", processes)):
        pairs = list(zip(speeds, parts, strict=True))
        figures[f"{prefix}overhead_ms"] = median([speed.cpu_ms_per_frame - one.total_ms for speed, one in pairs])
        figures[f"{prefix}limit_fraction"] = median([speed.fps / one.limit_fps for speed, one in pairs])
    return figures


def _processes_speed(settings: Settings, file: str) -> Speed:
    """Run the pipeline in processes over the file once, and give its speed from the first frame to the last."""
    table = settings.pipeline.model_copy(update={"mode": "processes"})
    changes = {"source": (SourceSettings(file),), "output": OutputTable(), "pipeline": table}
    supervisor = start_job(plan_job(settings.model_copy(update=changes), WeightStore.from_environment()))
    name = supervisor.lanes[0].name
    marks: list[tuple[int, float, float]] = []
    posed = 0
    children: list[int] = []
    try:
        while supervisor.is_running and not supervisor.has_crashed:
            supervisor.wait(_LOOK_S)
            counts = supervisor.counts(name)
            # At the first frame and at every later look while frames come, for which is the last is not known.
            if counts.posed > posed:
                # To list them anew each time would cost more than a frame does.
                children = children or children_of(os.getpid())
                posed = counts.posed
                # What has ended takes its CPU time with it.
                if all(process_cpu_s(pid) for pid in children):
                    marks.append((posed, time.perf_counter(), cpu_s(children)))
    finally:
        summary = supervisor.close()
    _raise_first(summary)
    (first, started_s, cost_s), (last, ended_s, cost_end_s) = marks[0], marks[-1]
    return Speed((last - first) / (ended_s - started_s), (cost_end_s - cost_s) / (last - first) * 1000)


def _pipeline_speed(settings: Settings, file: str, outputs: OutputTable) -> tuple[Speed, LaneProgress]:
    """Run the pipeline over the file once."""
    probe = _Probe()
    job = plan_job(
        settings.model_copy(update={"source": (SourceSettings(file),), "output": outputs}),
        WeightStore.from_environment(),
    )
    supervisor = start_job(job, [lambda _source: probe])
    try:
        while supervisor.is_running and not supervisor.has_crashed:
            supervisor.wait(1.0)
    finally:
        summary = supervisor.close()
    _raise_first(summary)
    return probe.speed, summary.sources[0].progress


def _raise_first(summary: Summary) -> None:
    for error in (summary.error, summary.sources[0].error, *summary.output_errors):
        if error is not None:
            raise error


def _latencies(progress: LaneProgress) -> dict[str, float | None]:
    """Give medians and p99 of the last round, in milliseconds."""
    figures = {}
    for name, stage in (("latency", "total"), ("infer", "infer"), ("group", "group")):
        for percent, label in ((50, "p50"), (99, "p99")):
            duration_s = progress.latency[stage].percentile_s(percent)
            figures[f"{name}_{label}_ms"] = None if duration_s is None else round(duration_s * 1000, 2)
    return figures


def _fresh_run(settings: Settings, file: str) -> dict[str, float]:
    """Run the file in a fresh process: the time from its start to its first line, and the most memory that it had."""
    code = "from posestream.pipeline.commands import entry; entry()"
    network = settings.network
    command = [sys.executable, "-c", code, "run", file, "--save-jsonl", "-", "--quiet"]
    command += ["--model", network.model, "--device", network.device, "--net-height", str(network.net_height)]
    started_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own command line
        assert process.stdout is not None  # noqa: S101 - it was asked for
        line = process.stdout.readline()
        first_result_s = time.perf_counter() - started_s
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not line:
        raise RuntimeError(f"{' '.join(command)} gave no result")
    return {"first_result_s": round(first_result_s, 2), "peak_memory_mb": round(usage.ru_maxrss / 1024)}
