"""NVIDIA's libraries that come as Python packages: which ones ONNX Runtime needs, loaded before it looks for them."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Needed", "load_cuda", "load_tensorrt", "needed_by", "why_not_loaded"]

#: The package that TensorRT's wheels put its libraries into, and those that a provider asks for: each after what it
#: needs itself.
_TENSORRT_PACKAGE = "tensorrt_libs"
_TENSORRT_LIBRARIES = ("libnvinfer.so.{}", "libnvinfer_plugin.so.{}", "libnvonnxparser.so.{}")
#: What a provider's file says of the libraries that it was linked with, among the names of all of them.
_LINKED = re.compile(rb"lib(nvinfer|cudart)\.so\.(\d+)\0")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Needed:
    """The major versions of NVIDIA's libraries that an ONNX Runtime was built with."""

    tensorrt: int
    cuda: int


def needed_by(onnxruntime: Any) -> Needed | None:
    """Tell which libraries an ONNX Runtime's TensorRT provider was linked with; None where it has none."""
    path = _provider(onnxruntime, "tensorrt")
    if not path.is_file():
        return None
    linked = {name: int(number) for name, number in _LINKED.findall(path.read_bytes())}
    return Needed(linked[b"nvinfer"], linked[b"cudart"]) if len(linked) == 2 else None


@functools.cache
def load_cuda(onnxruntime: Any) -> None:
    """Load CUDA's and cuDNN's libraries where they come as packages, once in a process; what it says is logged."""
    # `print` in its module is its own from here: standard output belongs to the user's results, in every thread.
    names = onnxruntime.preload_dlls.__globals__
    names["print"] = _note
    try:
        onnxruntime.preload_dlls()
    finally:
        del names["print"]


@functools.cache
def load_tensorrt(onnxruntime: Any) -> None:
    """Load TensorRT's libraries where they come as a package, once in a process; without it nothing happens."""
    needed, package = needed_by(onnxruntime), importlib.util.find_spec(_TENSORRT_PACKAGE)
    if needed is None or package is None:
        return
    for folder in package.submodule_search_locations or ():
        for name in _TENSORRT_LIBRARIES:
            path = Path(folder, name.format(needed.tensorrt))
            if not path.is_file():
                continue
            try:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                _note(f"{path} cannot be loaded:", error)


def why_not_loaded(onnxruntime: Any, kind: str) -> str:
    """Tell what the system says of a provider that ONNX Runtime could not load, without a word of why.

    Args:
        onnxruntime: the module.
        kind: "cuda" or "tensorrt".
    """
    try:
        # The provider's own file takes symbols of this one.
        ctypes.CDLL(str(_provider(onnxruntime, "shared")), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(_provider(onnxruntime, kind)))
    except OSError as error:
        return str(error)
    return "its libraries are here, and it refuses them or the driver"


def _provider(onnxruntime: Any, kind: str) -> Path:
    return Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{kind}.so"


def _note(*words: object) -> None:
    _log.debug("%s", " ".join(map(str, words)))
