"""A network as an ONNX file: its own, or one that is made of its files once and kept in the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from pathlib import Path

from posestream.models.cache import cache_folder
from posestream.models.errors import EngineError, ModelError
from posestream.models.importers.openvino_graph import convert_openvino
from posestream.models.spec import NetworkSpec, TensorLayout
from posestream.models.weights import Weights

__all__ = ["onnx_file"]

#: Raised whenever the same files become another ONNX file, so that those of before are not used again.
_VERSION = 2


def onnx_file(spec: NetworkSpec, weights: Weights, is_float: bool) -> tuple[NetworkSpec, Path]:
    """Give a network's ONNX file, and what that one takes and gives.

    Args:
        spec: the network.
        weights: its files.
        is_float: True to leave out the rounding to int8, for devices that do not gain by it.

    Raises:
        EngineError: the network's files cannot be converted, or the extra for it is not installed.
    """
    path = weights.paths[0]
    if path.suffix == ".onnx":
        return spec, path
    digests = "".join(file.digest for file in spec.files) + f"{_VERSION} {is_float}"
    folder = cache_folder("converted")
    target = folder / f"{spec.name}-{hashlib.sha256(digests.encode()).hexdigest()[:16]}.onnx"
    if not target.is_file():
        _convert(spec, weights, is_float, target)
    nchw = TensorLayout.NCHW
    return (
        dataclasses.replace(
            spec,
            input=dataclasses.replace(spec.input, layout=nchw),
            heatmaps=dataclasses.replace(spec.heatmaps, layout=nchw),
            pafs=dataclasses.replace(spec.pafs, layout=nchw),
        ),
        target,
    )


def _convert(spec: NetworkSpec, weights: Weights, is_float: bool, target: Path) -> None:
    """Convert into the cache, in one step for everybody who looks."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as scratch:
            part = Path(scratch, target.name)
            convert_openvino(weights.paths, part, spec.input.multiple, is_float)
            os.replace(part, target)  # noqa: PTH105 - the word says what happens
    except ModelError as error:
        raise EngineError(f"{spec.name} cannot become the ONNX file that this device needs: {error}") from error
    except OSError as error:
        raise EngineError(f"cannot write to {target.parent} ({error.strerror or error}): free space") from error
