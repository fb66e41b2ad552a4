"""A spec file: what an ONNX file of the user's own takes and gives, in TOML with the registry's keys."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posestream.models.errors import ModelError
from posestream.models.importers.extra import load_onnx
from posestream.models.importers.record import ONNX_DEVICES, Origin, Record
from posestream.models.registry import check_maps
from posestream.models.spec import InputSpec, OutputSpec, TensorLayout
from posestream.models.typed import typed

__all__ = ["check_onnx", "read_spec_file"]


@dataclass(frozen=True, slots=True)
class _SpecFile:
    """The keys of a spec file."""

    layout_name: str
    licence: str
    stride: int
    input: InputSpec
    heatmaps: OutputSpec
    pafs: OutputSpec
    title: str = ""
    licence_url: str = ""
    is_restricted: bool = False
    devices: tuple[str, ...] = ONNX_DEVICES


def read_spec_file(path: Path, name: str, source: str) -> Record:
    """Read what a network takes and gives.

    Args:
        path: the spec file: layout_name, licence, stride, input, heatmaps and pafs, as in registry.toml; title,
            licence_url, is_restricted and devices may be left out.
        name: what the network is to be called.
        source: the file that it describes.

    Raises:
        ModelError: it cannot be read, is no TOML, a key is missing or unknown, or a value is impossible; the text names
            the file and the key.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is no TOML: {error}") from error
    try:
        told = typed(_SpecFile, table)
        check_maps(told)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error
    origin = Origin(told.title or f"imported from {source}", told.licence, told.licence_url, told.is_restricted)
    return Record(
        name, told.layout_name, origin, source, told.input, told.heatmaps, told.pafs, told.stride, told.devices
    )


def check_onnx(path: Path, record: Record) -> Any:
    """Make sure that an ONNX file is whole and has what its spec file says; give it as `onnx` reads it.

    Raises:
        ModelError: it is cut off or unsound, or lacks an output or its channels; the text says what it has.
    """
    onnx = load_onnx()
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # onnx names no base of what protobuf and its checker raise
        raise ModelError(f"{path} is cut off, or no sound ONNX file: {str(error).splitlines()[0]}") from error
    outputs = {output.name: output for output in model.graph.output}
    axis = 1 if record.heatmaps.layout is TensorLayout.NCHW else 3
    for output in (record.heatmaps, record.pafs):
        if output.tensor not in outputs:
            raise ModelError(f"{path} has no output {output.tensor!r}, only {', '.join(outputs)}")
        dims = outputs[output.tensor].type.tensor_type.shape.dim
        channels = dims[axis].dim_value if len(dims) == 4 else 0
        if channels and output.first + output.count > channels:
            raise ModelError(
                f"{path}: {output.tensor} has {channels} channels, and the spec file names "
                f"{output.first} to {output.first + output.count - 1}"
            )
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise ModelError(f"{path} takes {len(inputs)} inputs instead of one picture: {names}")
    _check_input(path, inputs[0], record.input.layout)
    return model


def _check_input(path: Path, given: Any, layout: TensorLayout) -> None:
    """Raise ModelError where a network's input is no picture of three colours in the layout that is told."""
    sizes = [dim.dim_value or dim.dim_param or "?" for dim in given.type.tensor_type.shape.dim]
    colours = sizes[1 if layout is TensorLayout.NCHW else 3] if len(sizes) == 4 else 0
    # A size that is free may be three, unless the three colours are elsewhere.
    if colours != 3 and (isinstance(colours, int) or 3 in sizes):
        raise ModelError(
            f"{path}: {given.name} is {'×'.join(map(str, sizes))}, and no picture of three colours in {layout} "
            "(input.layout)"
        )
