"""ONNX Runtime and its execution providers: imported quietly, and each tried before anybody counts on it."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from posestream.models.engines.nvidia_packages import Needed, load_cuda, load_tensorrt, needed_by, why_not_loaded
from posestream.models.engines.runtime import brief
from posestream.models.errors import EngineError
from posestream.models.importers.extra import load_onnx

__all__ = [
    "CPU",
    "CUDA",
    "PROVIDERS",
    "TENSORRT",
    "load_libraries",
    "load_onnxruntime",
    "provider_fault",
    "runtime_errors",
    "tensorrt_needed",
]

CPU, CUDA, TENSORRT = "ort-cpu", "cuda", "tensorrt"
#: Each family's execution provider in ONNX Runtime.
PROVIDERS = {
    CPU: "CPUExecutionProvider",
    CUDA: "CUDAExecutionProvider",
    TENSORRT: "TensorrtExecutionProvider",
}
#: Where its bindings keep what it raises; these classes have no base of their own.
_BINDINGS = "onnxruntime.capi.onnxruntime_pybind11_state"
#: Only what ends the process is written to standard error: what fails is raised, and told in one line.
_FATAL = 4
#: TensorRT compiles no part of a network that has fewer operations: none of the one that it is tried with.
_TOO_MANY_OPERATIONS = 1000


def load_onnxruntime() -> Any:
    """Give the module `onnxruntime`, which writes nothing by itself and reports to nobody.

    Raises:
        EngineError: it is not installed; the text names the extras.
    """
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime cannot be loaded ({brief(error)}): pip install 'posestream[onnxruntime]', "
            "or 'posestream[onnxruntime-gpu]' for NVIDIA GPUs"
        ) from error
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_FATAL)
    return onnxruntime


def load_libraries(onnxruntime: Any, family: str) -> None:
    """Load NVIDIA's libraries that a family's provider needs, where they come as Python packages."""
    if family != CPU and PROVIDERS[CUDA] in onnxruntime.get_available_providers():
        load_cuda(onnxruntime)
        if family == TENSORRT:
            load_tensorrt(onnxruntime)


def tensorrt_needed() -> Needed | None:
    """Tell which libraries the TensorRT of the ONNX Runtime that is installed needs; None where it has none."""
    try:
        return needed_by(load_onnxruntime())
    except EngineError:
        return None


@functools.cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """Give what ONNX Runtime raises: classes of its own, RuntimeErrors, and the ValueErrors of its bindings."""
    names = vars(importlib.import_module(_BINDINGS)).values()
    own = (each for each in names if isinstance(each, type) and issubclass(each, Exception))
    return (*own, RuntimeError, ValueError)


@functools.cache
def provider_fault(onnxruntime: Any, family: str) -> str:
    """Tell why a family's provider cannot be used; empty where it can. It is tried once in a process.

    Raises:
        ModelError: onnx is not installed.
    """
    load_libraries(onnxruntime, family)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    settings = {"trt_min_subgraph_size": str(_TOO_MANY_OPERATIONS)} if family == TENSORRT else {}
    name = PROVIDERS[family]
    try:
        session = onnxruntime.InferenceSession(
            _one_operation(), options, providers=[(name, settings)], enable_fallback=False
        )
    except runtime_errors():
        is_loaded = False
    else:
        is_loaded = name in session.get_providers()
    return "" if is_loaded else f"ONNX Runtime's {name} cannot be loaded: {why_not_loaded(onnxruntime, family)}"


def _one_operation() -> bytes:
    """Give a network of one operation, as an ONNX file."""
    onnx = load_onnx()
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, float32, [1]) for name in ("given", "result")]
    graph = helper.make_graph([helper.make_node("Relu", ["given"], ["result"])], "one", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content
