"""Engines and devices: what is there, with a second's speed test each, and what to install for the others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np

from posestream.models.engines import devices_of, obstacle, open_engine, runs
from posestream.models.engines.base import Engine
from posestream.models.engines.nvidia import gpu_names
from posestream.models.engines.providers import tensorrt_needed
from posestream.models.errors import EngineError, ModelError
from posestream.models.registry import load_registry
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights, WeightStore
from posestream.pipeline.bench.measure import speed_for
from posestream.pipeline.doctor.finding import Finding, State

__all__ = ["FAMILIES", "advice", "look_at_devices", "usable_networks"]

_SECTION = "devices"
_NVIDIA = "an NVIDIA GPU and its driver"
#: Every family, and what to do to have it.
FAMILIES = {
    "cpu": "pip install --force-reinstall openvino",
    "cuda": f"{_NVIDIA}, and pip install 'posestream[onnxruntime-gpu]' instead of onnxruntime",
    "tensorrt": "as for cuda, and pip install 'tensorrt-cu13>=10,<11'",
    "intel-gpu": "an Intel GPU and its driver (Debian: intel-opencl-icd)",
    "npu": "an Intel NPU and its driver (linux-npu-driver)",
    "ort-cpu": "pip install 'posestream[onnxruntime]'",
    "opencv-cpu": "pip install opencv-python",
    "opencv-cuda": "an OpenCV that was built with CUDA and cuDNN",
}
#: Families whose engine is asked only where there are a GPU and its driver.
NVIDIA_FAMILIES = ("cuda", "tensorrt")
#: The picture of the speed test, in pixels.
SIZE = (256, 456)
#: How long a speed test takes about, in seconds.
_SECONDS = 1.0


def look_at_devices() -> list[Finding]:
    """Give each device of this machine with its speed, and each family that has none here."""
    networks = usable_networks()
    found = [Finding(_SECTION, f"GPU {number}", State.OK, name) for number, name in enumerate(gpu_names())]
    for family in FAMILIES:
        devices = devices_of(family)
        found += [_device(device, networks) for device in devices]
        if not devices:
            found.append(_absent(family))
    return found


def advice(family: str) -> str:
    """Give what to do to have a family's devices; TensorRT must be of the version that ONNX Runtime was built with."""
    if family == "tensorrt" and (needed := tensorrt_needed()) is not None:
        package = f"tensorrt-cu{needed.cuda}>={needed.tensorrt},<{needed.tensorrt + 1}"
        return f"as for cuda, and pip install '{package}'"
    return FAMILIES[family].removeprefix(f"{_NVIDIA}, and ") if gpu_names() else FAMILIES[family]


def usable_networks() -> list[tuple[NetworkSpec, Weights]]:
    """Give the networks whose files are here and whole, in the registry's order."""
    store = WeightStore.from_environment()
    found = []
    for spec in load_registry().values():
        try:
            weights = store.locate(spec)
        except ModelError:
            continue  # `models list` tells of damaged files
        if weights is not None and spec.access != "import":
            found.append((spec, weights))
    return found


def _absent(family: str) -> Finding:
    """Tell why there is no device of a family: one line, whatever was tried."""
    fault = obstacle(family)
    is_trouble = bool(fault and family in NVIDIA_FAMILIES)  # its GPU and driver are here
    state = State.ERROR if family == "cpu" else State.WARNING if is_trouble else State.ABSENT
    return Finding(_SECTION, family, state, fault or f"no device {family} is here", advice(family))


def _device(device: str, networks: list[tuple[NetworkSpec, Weights]]) -> Finding:
    """Run the first network that a device can run for a second."""
    for spec, weights in networks:
        if runs(device, spec):
            return speed_finding(device, spec, lambda: open_engine(spec, weights, device))  # noqa: B023 - at once
    text = "no network that it can run is here, so that it was not tried"
    return Finding(_SECTION, device, State.WARNING, text, "posestream models fetch mobilenet-thin")


def speed_finding(device: str, spec: NetworkSpec, opener: Callable[[], Engine]) -> Finding:
    """Open an engine, and give its speed on noise."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    try:
        with closing(opener()) as engine:
            engine.prepare(*SIZE)
            fps = speed_for(engine, image, _SECONDS)
            text = f"{fps:.1f} fps with {spec.name} at {SIZE[1]}×{SIZE[0]} ({engine.description})"
            return Finding(_SECTION, device, State.OK, text, data={"fps": round(fps, 1), "network": spec.name})
    except (EngineError, ModelError) as error:
        return Finding(_SECTION, device, State.WARNING, str(error), _remedy(error, device.partition(":")[0]))


def _remedy(error: Exception, family: str) -> str:
    """Give what to do about a device that is here and failed: install what it lacks, unless a folder is to blame."""
    if isinstance(error.__cause__, OSError):
        return "make that folder writable, or set POSESTREAM_CACHE to one that is"
    return advice(family)
