"""Imports what only importers and the engines that need ONNX files use, or names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from posestream.models.errors import ModelError

__all__ = ["load_onnx", "load_protobuf"]


def load_onnx() -> Any:
    """Give the module `onnx`.

    Raises:
        ModelError: it is not installed; the text names the extra.
    """
    onnx = _load("onnx")
    _load("onnx.numpy_helper")
    return onnx


def load_protobuf(name: str) -> Any:
    """Give a module of `google.protobuf`.

    Raises:
        ModelError: it is not installed; the text names the extra.
    """
    return _load(f"google.protobuf.{name}")


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"converting networks needs {name} ({error}): pip install 'posestream[import]'") from error
