"""`doctor --gpu`: everything that needs a GPU or NPU, tried against the processor, as a table to paste."""

from __future__ import annotations

import select
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines import devices_of, obstacle, open_engine, runs
from posestream.models.engines.base import Engine
from posestream.models.errors import EngineError, ModelError
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights
from posestream.pipeline.bench.measure import network_speed
from posestream.pipeline.doctor.devices import SIZE, advice, usable_networks

__all__ = ["Trial", "gpu_table", "try_gpus"]

#: Families that are no processor.
_GPU_FAMILIES = ("cuda", "tensorrt", "opencv-cuda", "intel-gpu", "npu")
_PRECISIONS = ("auto", "f32", "f16")
#: Pictures together in an inference, those that are tried.
_BATCHES = (1, 4, 8, 16)
#: Inferences of a measurement.
_FRAMES = 200
#: Longest wait for one inference, in seconds: TensorRT compiles in the first one.
_PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One device, network and precision that was tried."""

    device: str
    network: str
    precision: str
    description: str = ""
    #: Frames a second by pictures together.
    fps: tuple[tuple[int, float], ...] = ()
    #: Root mean square of the difference to the processor's maps in float32.
    difference: float | None = None
    #: Why it did not work.
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Give it as plain values."""
        fps = {str(batch): fps for batch, fps in self.fps}
        told = {name: getattr(self, name) for name in ("device", "network", "precision", "description")}
        return {**told, "fps": fps, "difference": self.difference, "failure": self.failure}


def try_gpus() -> list[Trial]:
    """Try every GPU and NPU with every network and precision.

    Raises:
        EngineError: there is none; the text says what to install for each.
    """
    devices = [device for family in _GPU_FAMILIES for device in devices_of(family)]
    if not devices:
        wanted = "; ".join(f"{family}: {_missing(family)}" for family in _GPU_FAMILIES)
        raise EngineError(f"no GPU or NPU is here that an installed engine can use ({wanted})")
    networks = usable_networks()
    return [
        _try(device, spec, weights, precision)
        for device in devices
        for spec, weights in networks
        if runs(device, spec)
        for precision in _PRECISIONS
    ]


def gpu_table(trials: list[Trial]) -> str:
    """Give the trials as a table in Markdown."""
    heads = ["device", "network", "engine", *(f"fps, {batch} together" for batch in _BATCHES), "RMS to cpu f32"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for trial in trials:
        speeds = dict(trial.fps)
        cells = [f"{speeds[batch]:.0f}" if batch in speeds else "" for batch in _BATCHES]
        engine = trial.description or f"{trial.precision}: {trial.failure}"
        difference = "" if trial.difference is None else f"{trial.difference:.4f}"
        lines.append(f"| `{trial.device}` | {trial.network} | {engine} | {' | '.join(cells)} | {difference} |")
    return "\n".join(lines)


def _missing(family: str) -> str:
    """Give what keeps a family from being used, where that is known, and what to do."""
    return ": ".join(filter(None, (obstacle(family), advice(family))))


def _try(device: str, spec: NetworkSpec, weights: Weights, precision: str) -> Trial:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    speeds: list[tuple[int, float]] = []
    description, difference = "", None
    try:
        for batch in _BATCHES:
            with closing(open_engine(spec, weights, device, precision, 0, batch)) as engine:
                engine.prepare(*SIZE)
                description = engine.description
                if difference is None:
                    difference = _difference(engine, spec, weights, image)
                speeds.append((engine.batch, round(network_speed(engine, image, _FRAMES).fps, 1)))
    except (EngineError, ModelError) as error:
        return Trial(device, spec.name, precision, description, tuple(speeds), difference, str(error))
    return Trial(device, spec.name, precision, description, tuple(speeds), difference)


def _difference(engine: Engine, spec: NetworkSpec, weights: Weights, image: NDArray[np.uint8]) -> float:
    """Compare a device's maps with the processor's."""
    with closing(open_engine(spec, weights, "cpu", "f32", 1)) as processor:
        return round(float(np.sqrt(np.mean((_maps(engine, image) - _maps(processor, image)) ** 2))), 6)


def _maps(engine: Engine, image: NDArray[np.uint8]) -> NDArray[np.floating]:
    engine.submit([0], [image])
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        select.select([engine.fileno()], [], [], 1.0)
        if done := engine.completed():
            return np.concatenate([done[0].heatmaps_chw, done[0].pafs_chw])
    raise EngineError(f"{engine.description} has not finished one inference within {_PATIENCE_S:g} s")
