"""Makes an ONNX file of the user's own one that every engine here runs, where that changes nothing of what it sees."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posestream.models.errors import ModelError
from posestream.models.importers.extra import load_onnx
from posestream.models.spec import InputSpec

__all__ = ["made_portable"]

#: Attributes that name a type of numbers.
_TYPE_ATTRIBUTES = ("to", "dtype")

_log = logging.getLogger(__name__)


def made_portable(path: Path, model: Any, taken: InputSpec) -> bool:
    """Change a network in place: float64 becomes float32, and a picture of whole numbers one of float32.

    Few engines compute in float64, and none here gives a network whole numbers.

    Args:
        path: the file that it comes from, for people.
        model: the network, as `onnx` read it.
        taken: what its spec file says of its input.

    Returns:
        True if anything was changed.

    Raises:
        ModelError: scaling leaves fractions or too large values for a network that takes whole numbers, or the result
            is no sound network.
    """
    onnx = load_onnx()
    ends = [*model.graph.input, *model.graph.output]
    is_double = any(end.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE for end in ends)
    if is_double:
        _make_float32(onnx, model)
        _log.warning("%s computes in float64, as few engines do: it is kept in float32", path)
    stored = {tensor.name for tensor in model.graph.initializer}
    (picture,) = (each for each in model.graph.input if each.name not in stored)
    is_whole = _numbers(onnx, picture).kind in "iu"
    if is_whole:
        _check_range(path, picture.name, _numbers(onnx, picture), taken)
        _take_float32(onnx, model.graph, picture)
    if is_double or is_whole:
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelError(f"{path} cannot be made float32: {str(error).splitlines()[0]}") from error
    return is_double or is_whole


def _numbers(onnx: Any, end: Any) -> np.dtype[Any]:
    numbers: np.dtype[Any] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(end.type.tensor_type.elem_type))
    return numbers


def _check_range(path: Path, name: str, numbers: np.dtype[Any], taken: InputSpec) -> None:
    """Raise ModelError where `value · scale + shift` of 0…255 is not of a type of whole numbers."""
    limits = np.iinfo(numbers)
    bounds = (taken.shift, 255 * taken.scale + taken.shift)
    is_whole = taken.scale.is_integer() and taken.shift.is_integer()
    if not is_whole or min(bounds) < limits.min or max(bounds) > limits.max:
        raise ModelError(
            f"{path}: {name} is of {numbers}, which cannot hold value · {taken.scale:g} {taken.shift:+g} of a picture: "
            "write scale = 1 and shift = 0 where the network scales by itself (input.scale, input.shift)"
        )


def _take_float32(onnx: Any, graph: Any, picture: Any) -> None:
    """Give the network a picture of float32, and what took the one of whole numbers a Cast of it."""
    wanted = picture.type.tensor_type.elem_type
    names = {tensor.name for tensor in graph.initializer} | {name for node in graph.node for name in node.output}
    given = f"{picture.name}_float32"
    while given in names:
        given += "_"
    nodes = [onnx.helper.make_node("Cast", [given], [picture.name], to=wanted), *graph.node]
    picture.name = given
    picture.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del graph.node[:]
    graph.node.extend(nodes)


def _make_float32(onnx: Any, model: Any) -> None:
    """Make every number of float64 one of float32: weights, constants, and what operations are told to give."""
    double, single = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT
    for graph in _graphs(onnx, model.graph):
        for tensor in graph.initializer:
            _round(onnx, tensor)
        for end in (*graph.input, *graph.output, *graph.value_info):
            if end.type.tensor_type.elem_type == double:
                end.type.tensor_type.elem_type = single
        for attribute in (each for node in graph.node for each in node.attribute):
            if attribute.type == onnx.AttributeProto.TENSOR:
                _round(onnx, attribute.t)
            elif attribute.name in _TYPE_ATTRIBUTES and attribute.i == double:
                attribute.i = single


def _round(onnx: Any, tensor: Any) -> None:
    if tensor.data_type == onnx.TensorProto.DOUBLE:
        # What is beyond float32 is a bound that nothing reaches, and becomes infinite.
        with np.errstate(over="ignore"):
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _graphs(onnx: Any, graph: Any) -> Iterator[Any]:
    """Give a graph, and those of its branches and loops."""
    yield graph
    for attribute in (each for node in graph.node for each in node.attribute):
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from _graphs(onnx, attribute.g)
