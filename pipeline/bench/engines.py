"""`bench engines`: a network on every engine and precision of this machine, interleaved, in one table."""

from __future__ import annotations

import contextlib
import select
import statistics
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from posestream.models.choice import choose
from posestream.models.engines import available_devices, open_engine, runs
from posestream.models.engines.base import Engine
from posestream.models.errors import EngineError, ModelError
from posestream.models.registry import find_network, load_registry
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights, WeightStore
from posestream.pipeline.bench.benchmark_app import benchmark_app_fps
from posestream.pipeline.bench.measure import median, network_speed, report

__all__ = ["EnginesPlan", "measure_engines"]

#: Precisions that are tried; a device refuses those that it lacks.
_PRECISIONS = ("auto", "f32", "bf16", "f16")
#: Longest wait for one inference, in seconds.
_PATIENCE_S = 120.0
#: What OpenVINO's own tool is called among the devices.
_TOOL = "benchmark_app"


@dataclass(frozen=True, slots=True)
class EnginesPlan:
    """What is to be measured, and how long."""

    model: str
    width: int
    height: int
    rounds: int
    frames: int
    #: True to run OpenVINO's own tool beside them.
    has_tool: bool


@dataclass(slots=True)
class _Row:
    """One device in one precision, and what was measured of it."""

    device: str
    precision: str
    description: str
    engine: Engine | None
    fps: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def measure_engines(plan: EnginesPlan) -> None:
    """Measure one network on everything that is here, and print a table and the report.

    Raises:
        ModelError: the network is unknown or cannot be had.
        EngineError: no device of this machine can run it.
    """
    spec, weights = _network(plan.model)
    image = np.random.default_rng(0).integers(0, 256, (plan.height, plan.width, 3), np.uint8)
    with contextlib.ExitStack() as closing:
        rows, left_out = _open_all(spec, weights, closing)
        rows = _each(rows, left_out, lambda row: _prepare(row, plan))
        if plan.has_tool:
            rows += [_Row(_TOOL, precision, "OpenVINO's own tool, CPU", None) for precision in ("auto", "f32")]
        for number in range(plan.rounds):
            rows = _each(rows, left_out, lambda row: _measure(row, spec, weights, image, plan))
            click.echo(f"round {number + 1} of {plan.rounds}", err=True)
    _check_some(rows, spec, left_out)
    _show(spec, plan, rows)
    report(
        {
            "bench": "engines",
            "model": spec.name,
            "net_size": [plan.width, plan.height],
            "engines": [_told(row) for row in rows],
            "left_out": left_out,
        }
    )


def _network(model: str) -> tuple[NetworkSpec, Weights]:
    """Find a network, wherever it can run."""
    store, registry = WeightStore.from_environment(), load_registry()
    if model == "auto":
        choice = choose(model, "cpu", store, registry)
        return choice.spec, choice.weights
    spec = find_network(model, registry)
    return spec, store.locate(spec) or store.fetch(spec)


def _open_all(
    spec: NetworkSpec, weights: Weights, closing: contextlib.ExitStack
) -> tuple[list[_Row], list[dict[str, str]]]:
    """Open the network on every device in every precision that it has; tell what could not be opened."""
    rows: dict[str, _Row] = {}
    left_out: list[dict[str, str]] = []
    for device, precision in _candidates():
        if not runs(device, spec):
            reason = f"{spec.name} cannot run on it"
        else:
            try:
                engine = open_engine(spec, weights, device, precision)
            except (EngineError, ModelError) as error:
                reason = str(error)
            else:
                closing.callback(engine.close)
                # "auto" is one of the others, and is told under its own name only once.
                rows.setdefault(f"{device} {engine.description}", _Row(device, precision, engine.description, engine))
                continue
        if precision == "auto":
            left_out.append({"device": device, "precision": precision, "reason": reason})
    _check_some(rows, spec, left_out)
    return list(rows.values()), left_out


def _check_some(rows: Collection[object], spec: NetworkSpec, left_out: list[dict[str, str]]) -> None:
    if not rows:
        raise EngineError(f"no device of this machine can run {spec.name}: {left_out}")


def _each(rows: list[_Row], left_out: list[dict[str, str]], do: Callable[[_Row], None]) -> list[_Row]:
    """Do something with each row; give those with which it succeeded, and note why the others are left out."""
    kept = []
    for row in rows:
        try:
            do(row)
        except (EngineError, ModelError) as error:
            left_out.append({"device": row.device, "precision": row.precision, "reason": str(error)})
        else:
            kept.append(row)
    return kept


def _prepare(row: _Row, plan: EnginesPlan) -> None:
    if row.engine is not None:
        row.engine.prepare(plan.height, plan.width)


def _candidates() -> Iterator[tuple[str, str]]:
    for device in available_devices():
        for precision in _PRECISIONS:
            yield device, precision


def _measure(row: _Row, spec: NetworkSpec, weights: Weights, image: NDArray[np.uint8], plan: EnginesPlan) -> None:
    """Measure one row once."""
    if row.engine is None:
        fps, latency_ms = benchmark_app_fps(spec, weights, row.precision, plan.height, plan.width)
        row.fps.append(fps)
        row.latency_ms.append(latency_ms)
        return
    speed = network_speed(row.engine, image, plan.frames)
    row.fps.append(speed.fps)
    row.cpu_ms.append(speed.cpu_ms_per_frame)
    row.latency_ms.append(statistics.median(_alone_ms(row.engine, image) for _ in range(max(plan.frames // 4, 3))))


def _alone_ms(engine: Engine, image: NDArray[np.uint8]) -> float:
    """Give the time of one picture with nothing beside it, in milliseconds."""
    begin = time.perf_counter()
    engine.submit([0], [image])
    while not engine.completed():
        select.select([engine.fileno()], [], [], 1.0)
        if time.perf_counter() - begin > _PATIENCE_S:
            raise EngineError(f"{engine.description} has not finished one inference within {_PATIENCE_S:g} s")
    return (time.perf_counter() - begin) * 1000


def _told(row: _Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        "device": row.device,
        "precision": row.precision,
        "engine": row.description,
        "fps": median(row.fps),
        "latency_ms": median(row.latency_ms),
    }
    if row.engine is not None:
        told |= {"cpu_ms_per_frame": median(row.cpu_ms), "batch": row.engine.batch, "requests": row.engine.capacity}
    return told


def _show(spec: NetworkSpec, plan: EnginesPlan, rows: list[_Row]) -> None:
    """Print the table for people."""
    title = f"{spec.name}, {plan.width}×{plan.height}, medians of {plan.rounds} rounds"
    table = Table(title=title, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for heading in ("device", "engine", "fps", "latency", "CPU a frame"):
        table.add_column(heading, overflow="fold", justify="left" if heading in ("device", "engine") else "right")
    for row in sorted(rows, key=lambda row: -statistics.median(row.fps)):
        cpu = f"{statistics.median(row.cpu_ms):.0f} ms" if row.cpu_ms else ""
        name = row.description if row.engine is not None else f"{row.description}, {row.precision}"
        latency = f"{statistics.median(row.latency_ms):.1f} ms" if row.engine is not None else ""
        table.add_row(row.device, name, f"{statistics.median(row.fps):.1f}", latency, cpu)
    Console(stderr=True).print(table)
