"""How much faster an int8 network is: measured in turns with the float network, in each precision of the device."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Engine
from posestream.pipeline.bench.measure import network_speed

__all__ = ["INT8", "Speeds", "measure_speeds"]

#: What the int8 network is called among the precisions.
INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Speeds:
    """Frames a second of the same network in each precision, and how many times as fast int8 is."""

    fps: Mapping[str, float]
    #: By precision; the median of the rounds' own ratios, so that a machine that drifts does not count.
    speedups: Mapping[str, float]


def measure_speeds(
    engines: Mapping[str, Engine],
    image: NDArray[np.uint8],
    rounds: int,
    frames: int,
    speed: Callable[[Engine, NDArray[np.uint8], int], float] = lambda *each: network_speed(*each).fps,
) -> Speeds:
    """Measure engines in turns.

    Args:
        engines: by precision; one of them is `INT8`.
        image: what they infer, again and again.
        rounds: how often each of them has its turn.
        frames: inferences in a turn.
        speed: gives an engine's frames a second over so many of them.
    """
    for engine in engines.values():
        engine.prepare(*image.shape[:2])
    measured = [{name: speed(engine, image, frames) for name, engine in engines.items()} for _ in range(rounds)]
    return Speeds(
        {name: statistics.median(turn[name] for turn in measured) for name in engines},
        {name: statistics.median(turn[INT8] / turn[name] for turn in measured) for name in engines if name != INT8},
    )
