"""A network's first inferences, on each engine that is here, before it is installed: its record must be true."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Sequence, Set
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines import device_family, devices_of, open_engine
from posestream.models.engines.base import Completed, Engine
from posestream.models.errors import EngineError, ModelError
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights

__all__ = ["try_network"]

#: Families that a network is tried on, those that open at once first.
_FAMILIES = ("cpu", "ort-cpu", "opencv-cpu", "cuda", "opencv-cuda", "intel-gpu", "npu", "tensorrt")
#: Families of one engine, which fail together: one that is not here is left out where none of the others ran.
_KIN = (("cpu", "intel-gpu", "npu"), ("ort-cpu", "cuda", "tensorrt"), ("opencv-cpu", "opencv-cuda"))
#: Computed with, so that engines can be compared; NPUs have no float32.
_PRECISIONS = {"npu": "auto"}
#: Two engines agree where their maps differ, by root mean square, by no more than this part of what the maps vary by;
#: pads or axes that are taken otherwise make more than twice as much.
_MOST_DIFFERENCE = 0.25
#: Differences below these parts of the largest value are rounding: of float32 (measured: 3e-7; TF32 is coarser), and of
#: int8, where noise as a picture gives 1e-2.
_ROUNDING, _INT8_ROUNDING = 2e-4, 2e-2
#: No map holds such values, which are 0 to 1 for heatmaps and −1 to 1 for PAFs.
_LARGEST = 1e6
#: What rounds to int8 in an ONNX file.
_INT8_OPERATION = b"QuantizeLinear"
#: The picture is at least so high, in pixels, and one step wider, so that its sizes cannot be taken for each other.
_HEIGHT = 64
#: Longest wait for the inference, in seconds.
_PATIENCE_S = 300.0

_log = logging.getLogger(__name__)


def try_network(spec: NetworkSpec, files: Sequence[Path]) -> tuple[str, ...]:
    """Run a network once on a small picture, on one device of each family that is here, and compare the maps.

    Where no device of this machine can run it, that is logged and nothing is tried.

    Returns:
        The families of its record that run it: all but those that failed or disagreed here, and those of the same
        engines. What is left out is logged with the reason.

    Raises:
        ModelError: no engine runs it, or its maps are not those that its record promises; the text says what they are.
    """
    able = [found[0] for family in _FAMILIES if family in spec.devices and (found := devices_of(family))]
    if not able:
        _log.warning("%s was not tried: none of %s is here", spec.name, ", ".join(spec.devices))
        return spec.devices
    ran: dict[str, NDArray[np.floating]] = {}
    faults: dict[str, ModelError | EngineError] = {}
    for device in able:
        family = device_family(device)
        try:
            ran[family] = _maps(spec, files, device, _PRECISIONS.get(family, "f32"))
        except (EngineError, ModelError) as error:
            faults[family] = error
    if not ran:
        first = next(iter(faults.values()))
        if isinstance(first, EngineError):
            raise ModelError(f"{spec.name} cannot be run on {able[0]} as its record says: {first}") from first
        raise first
    rounding = _INT8_ROUNDING if _INT8_OPERATION in files[0].read_bytes() else _ROUNDING
    faults |= _outvoted(ran, rounding)
    for family, fault in faults.items():
        _log.warning("%s is not for %s: %s", spec.name, family, fault)
    return tuple(family for family in spec.devices if _is_fit(family, ran.keys() - faults.keys(), faults.keys()))


def _is_fit(family: str, fit: Set[str], unfit: Set[str]) -> bool:
    """Tell whether a family may run a network, by those that did and did not: itself, or those of the same engine."""
    if family in fit or family in unfit:
        return family in fit
    (kin,) = (set(each) for each in _KIN if family in each)
    return bool(kin & fit) or not kin & unfit


def _outvoted(ran: dict[str, NDArray[np.floating]], rounding: float) -> dict[str, ModelError]:
    """Tell which families disagree with the one with which most agree, the first such one."""
    votes = {family: sum(_agree(maps, others, rounding) for others in ran.values()) for family, maps in ran.items()}
    judge = max(votes, key=votes.__getitem__)
    return {
        family: ModelError(f"it gives other maps than {judge} does")
        for family, maps in ran.items()
        if not _agree(ran[judge], maps, rounding)
    }


def _agree(first: NDArray[np.floating], second: NDArray[np.floating], rounding: float) -> bool:
    varying = np.std(first, axis=(1, 2))
    limit = _MOST_DIFFERENCE * np.sqrt(np.mean(varying**2)) + rounding * np.abs(first).max()
    return bool(np.sqrt(np.mean((first - second) ** 2)) <= limit)


def _maps(spec: NetworkSpec, files: Sequence[Path], device: str, precision: str) -> NDArray[np.floating]:
    """Give a device's maps, heatmaps first; raise EngineError or ModelError where they are not as promised."""
    step = spec.input.multiple
    height = -(-_HEIGHT // step) * step
    width = height + step
    weights = Weights(spec, tuple(files))
    with closing(open_engine(spec, weights, device, precision, requests=1, batch=1)) as engine:
        done = _infer(engine, height, width)
    cells = (height // spec.stride, width // spec.stride)
    for what, output, maps in (("heatmaps", spec.heatmaps, done.heatmaps_chw), ("pafs", spec.pafs, done.pafs_chw)):
        if maps.shape != (output.count, *cells):
            raise ModelError(
                f"{spec.name}: a picture of {width}×{height} gives {what} of {_size(maps.shape)} (channels, height, "
                f"width), and the record promises {_size((output.count, *cells))}: its stride, layout or channels are "
                "others, or a pool or pad makes the maps of another size"
            )
        if not (np.abs(maps) < _LARGEST).all():
            raise ModelError(
                f"{spec.name}: its {what} are not finite, or beyond {_LARGEST:g}: the weights or input.scale are wrong"
            )
    return np.concatenate([done.heatmaps_chw, done.pafs_chw]).astype(np.float32)


def _infer(engine: Engine, height: int, width: int) -> Completed:
    """Run one picture of noise."""
    engine.prepare(height, width)
    engine.submit([0], [np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)])
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        select.select([engine.fileno()], [], [], 1.0)
        if done := engine.completed():
            return done[0]
    raise EngineError(f"{engine.description} has not finished one inference within {_PATIENCE_S:g} s")


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
