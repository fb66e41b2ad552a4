"""What the benches share: the clip, the network's bare speed, and the JSON at the end."""

from __future__ import annotations

import json
import os
import select
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from posestream.models.choice import choose
from posestream.models.engines import open_engine
from posestream.models.engines.base import Engine
from posestream.models.registry import load_registry
from posestream.models.samples import fetch_sample
from posestream.models.weights import WeightStore
from posestream.pipeline.settings import Settings

__all__ = ["Speed", "clip_path", "engine_for", "median", "network_speed", "report", "speed_for"]

#: Pictures that the engine has done before a measurement begins.
_WARM_UP = 8


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast something went."""

    fps: float
    #: CPU time of the whole process, in milliseconds.
    cpu_ms_per_frame: float


def clip_path(file: str | None) -> str:
    """Give the clip to measure with: the file that was named, or the sample clip."""
    return file if file is not None else str(fetch_sample())


def engine_for(settings: Settings) -> tuple[str, Callable[[], Engine]]:
    """Name the network that the settings mean, and give what opens its engine."""
    network = settings.network
    choice = choose(network.model, network.device, WeightStore.from_environment(), load_registry())
    replicas = settings.replicas
    return choice.spec.name, lambda: open_engine(
        choice.spec, choice.weights, choice.device, network.precision, replicas.requests, replicas.batch
    )


def network_speed(engine: Engine, image: NDArray[np.uint8], frames: int) -> Speed:
    """Run the bare engine over the same picture, as many at once as it takes, and give its speed."""
    _run(engine, image, _WARM_UP)
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    _run(engine, image, frames)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return Speed(frames / wall_s, cpu_s / frames * 1000)


def speed_for(engine: Engine, image: NDArray[np.uint8], seconds: float) -> float:
    """Run the bare engine over the same picture for about so long, however slow it is; give pictures a second.

    The first inference is for warming up. Where all that the engine takes would last longer than `seconds`, it is given
    no more than it works on at once, so that the last ones are not waited for one after the other.

    Raises:
        EngineError: an inference failed.
    """
    begin = time.perf_counter()
    _run(engine, image, 1)
    is_slow = engine.capacity * (time.perf_counter() - begin) > seconds
    room = engine.at_once if is_slow else engine.capacity
    submitted = done = 0
    begin, elapsed_s = time.perf_counter(), 0.0
    while done < submitted or elapsed_s < seconds:
        while elapsed_s < seconds and (count := min(engine.batch, room - (submitted - done))):
            engine.submit(range(submitted, submitted + count), [image] * count)
            submitted += count
        select.select([engine.fileno()], [], [], 1.0)
        done += len(engine.completed())
        elapsed_s = time.perf_counter() - begin
    return done / elapsed_s


def _run(engine: Engine, image: NDArray[np.uint8], frames: int) -> None:
    submitted = done = 0
    while done < frames:
        while count := min(engine.batch, frames - submitted, engine.capacity - (submitted - done)):
            engine.submit(range(submitted, submitted + count), [image] * count)
            submitted += count
        select.select([engine.fileno()], [], [], 1.0)
        done += len(engine.completed())


def median(values: Sequence[float]) -> float:
    """Give the median, to a thousandth."""
    return round(statistics.median(values), 3)


def report(result: dict[str, Any]) -> None:
    """Print one JSON object as the last line of standard output."""
    click.echo(json.dumps({**result, "cores": os.cpu_count()}))
