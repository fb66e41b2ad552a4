"""Engines that run a network: one file each, chosen by the device string."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from posestream.models.engines import simulated
from posestream.models.engines.base import Completed, Engine
from posestream.models.errors import EngineError, ModelError
from posestream.models.registry import IMPORT_HINT
from posestream.models.spec import Access, NetworkSpec
from posestream.models.weights import Weights

__all__ = [
    # choosing
    "AUTO_FAMILIES",
    "available_devices",
    "check_device",
    "devices_of",
    "device_family",
    "is_simulated",
    "obstacle",
    "open_engine",
    "runs",
    # what an engine is
    "Completed",
    "Engine",
]

#: Device families and the module of each one's engine, which is imported only when it is asked for.
_ENGINES = {
    "cuda": "onnxruntime",
    "tensorrt": "onnxruntime",
    "opencv-cuda": "opencv",
    "cpu": "openvino",
    "intel-gpu": "openvino",
    "npu": "openvino",
    "ort-cpu": "onnxruntime",
    "opencv-cpu": "opencv",
    "simulated": "simulated",
}
#: What `auto` takes: the first of these that is here and can run the network. TensorRT compiles for minutes when it
#: first sees a size, and an Intel GPU or NPU may be slower than its processor: these are taken when they are asked for.
AUTO_FAMILIES = ("cuda", "opencv-cuda", "cpu")
#: The family that pretends to run any network, without its files; it is no device of a machine.
_SIMULATED = "simulated"


class _EngineModule(Protocol):
    """What an engine's module offers."""

    def devices(self, family: str) -> tuple[str, ...]:
        """Give the device strings of a family that can be used on this machine; raise EngineError with what fails."""

    def open_engine(
        self, spec: NetworkSpec, weights: Weights, device: str, precision: str, requests: int, batch: int
    ) -> Engine:
        """Open a network on one of them."""


def open_engine(
    spec: NetworkSpec, weights: Weights, device: str, precision: str = "auto", requests: int = 0, batch: int = 0
) -> Engine:
    """Open a network on a device.

    Args:
        spec: the network.
        weights: its files.
        device: a device string such as `cpu`, `cuda:0` or `opencv-cpu`.
        precision: "auto", "f32", "bf16" or "f16".
        requests: how many pictures at once; 0 leaves it to the engine.
        batch: how many of them together in one inference at most; 0 leaves it to the engine, and so does every number
            where batches gain nothing.

    Raises:
        EngineError: the device is unknown or absent, cannot run this network or lacks the precision.
        ModelError: the network's files must be imported first.
    """
    family = device_family(device)
    if spec.access is Access.IMPORT and not is_simulated(device):
        raise ModelError(f"{spec.name}: {weights.paths[0]} is a Caffe file: {IMPORT_HINT.format(spec=spec)}")
    if not runs(device, spec):
        raise EngineError(f"device {device} cannot run {spec.name}: choose one of {', '.join(spec.devices)}")
    check_device(device)
    return _module(family).open_engine(spec, weights, device, precision, requests, batch)


def check_device(device: str) -> None:
    """Make sure that a device is there.

    Raises:
        EngineError: it is unknown or absent; the text says which devices there are.
    """
    family = device_family(device)
    if family == _SIMULATED:
        simulated.check(device)
    elif device not in (found := devices_of(family)):
        numbered = [each for each in found if each.startswith(f"{device}:")]
        hint = f"write {numbered[0]}; " if numbered else ""
        if fault := obstacle(family):
            hint = f"{fault}; "
        raise EngineError(f"device {device} is not available here: {hint}there are {', '.join(available_devices())}")


def available_devices() -> tuple[str, ...]:
    """Give the device strings that there are on this machine, the best first."""
    return tuple(device for family in _ENGINES for device in devices_of(family))


def devices_of(family: str) -> tuple[str, ...]:
    """Give the device strings of a family that can be used on this machine; none where its library is not installed."""
    try:
        return _module(family).devices(family)
    except EngineError:
        return ()


def obstacle(family: str) -> str:
    """Tell why a family's devices cannot be used, where a library or driver of theirs fails; else give nothing."""
    try:
        _module(family).devices(family)
    except EngineError as error:
        return str(error)
    return ""


def runs(device: str, spec: NetworkSpec) -> bool:
    """Tell whether a device is of a family that can run a network.

    Raises:
        EngineError: there is no such family; the text says which devices there are.
    """
    return is_simulated(device) or device_family(device) in spec.devices


def is_simulated(device: str) -> bool:
    """Tell whether a device only pretends, so that it needs no files of the network."""
    return device.partition(":")[0] == _SIMULATED


def device_family(device: str) -> str:
    """Give the family of a device string: `opencv-cuda` of `opencv-cuda:0`.

    Raises:
        EngineError: there is no such family; the text says which devices there are.
    """
    family = device.partition(":")[0]
    if family not in _ENGINES:
        raise EngineError(f"unknown device {device!r}: there are {', '.join(available_devices())}")
    return family


def _module(family: str) -> _EngineModule:
    return cast(_EngineModule, importlib.import_module(f"posestream.models.engines.{_ENGINES[family]}"))
