"""A spec file: what an ONNX file of the user's own takes and gives, in TOML with the registry's keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from posestream.models.errors import ModelError
from posestream.models.importers.extra import load_onnx
from posestream.models.importers.record import ONNX_DEVICES, Origin, Record
from posestream.models.spec import InputSpec, OutputSpec, TensorLayout

__all__ = ["check_onnx", "read_spec_file"]


def read_spec_file(path: Path, name: str, source: str) -> Record:
    """Read what a network takes and gives.

    Args:
        path: the spec file: layout_name, licence, stride, input, heatmaps and pafs, as in registry.toml; title,
            licence_url, is_restricted and devices may be left out.
        name: what the network is to be called.
        source: the file that it describes.

    Raises:
        ModelError: it cannot be read, is no TOML, or a key is missing or unknown.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is no TOML: {error}") from error
    try:
        origin = Origin(
            table.pop("title", f"imported from {source}"),
            table.pop("licence"),
            table.pop("licence_url", ""),
            table.pop("is_restricted", False),
        )
        record = Record(
            name,
            table.pop("layout_name"),
            origin,
            source,
            InputSpec(**_tensor(table.pop("input"))),
            OutputSpec(**_tensor(table.pop("heatmaps"))),
            OutputSpec(**_tensor(table.pop("pafs"))),
            table.pop("stride"),
            tuple(table.pop("devices", ONNX_DEVICES)),
        )
        if table:
            raise ValueError(f"unknown keys: {', '.join(table)}")
    except KeyError as error:
        raise ModelError(f"{path}: {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from error
    return record


def check_onnx(path: Path, record: Record) -> None:
    """Make sure that an ONNX file is whole and has what its spec file says.

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
    inputs = [each.name for each in model.graph.input if each.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"{path} takes {len(inputs)} inputs instead of one picture: {', '.join(inputs)}")


def _tensor(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "layout": TensorLayout(entry["layout"])}
