"""Fits an ONNX network to what the pipeline gives (uint8 NHWC) and takes (heatmaps and PAFs apart, float32 NCHW)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posestream.models.engines.runtime import brief
from posestream.models.errors import EngineError
from posestream.models.importers.extra import load_onnx
from posestream.models.spec import NetworkSpec, OutputSpec, TensorLayout

__all__ = ["BATCH", "HEATMAPS", "HEIGHT", "PAFS", "PICTURE", "WIDTH", "Fitted", "fitted"]

#: Names of the input and outputs, and of the sizes that are free.
PICTURE, HEATMAPS, PAFS = "picture", "posestream_heatmaps", "posestream_pafs"
BATCH, HEIGHT, WIDTH = "posestream_batch", "posestream_height", "posestream_width"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network that takes pictures and gives maps."""

    #: The ONNX file.
    model: bytes
    #: True if it takes any number of pictures together; else it takes one.
    is_batched: bool
    #: True if it rounds to int8.
    is_int8: bool


def fitted(spec: NetworkSpec, path: Path) -> Fitted:
    """Give the network with scaling, shift and layouts as nodes of its own.

    Raises:
        EngineError: the file is damaged, or lacks what the spec says.
        ModelError: onnx is not installed.
    """
    onnx = load_onnx()
    try:
        model = onnx.load(path)
    except Exception as error:
        raise EngineError(f"{spec.name}: {path} is no ONNX file: {brief(error)}") from error
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    (given,) = (each for each in graph.input if each.name not in weights)
    is_batched = not given.type.tensor_type.shape.dim[0].dim_value
    before = _input_nodes(onnx, spec, given)
    outputs = {output.name for output in graph.output}
    for output in (spec.heatmaps, spec.pafs):
        if output.tensor not in outputs:
            raise EngineError(f"{spec.name}: {path} has no output {output.tensor!r}, only {', '.join(outputs)}")
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [*before, *graph.node, *_output_nodes(onnx, spec.heatmaps, HEATMAPS), *_output_nodes(onnx, spec.pafs, PAFS)]
    sizes = [BATCH, HEIGHT, WIDTH, 3]
    maps = [
        helper.make_tensor_value_info(name, types.FLOAT, [BATCH, output.count, None, None])
        for name, output in ((HEATMAPS, spec.heatmaps), (PAFS, spec.pafs))
    ]
    picture = helper.make_tensor_value_info(PICTURE, types.UINT8, sizes)
    for field, values in ((graph.node, nodes), (graph.input, [picture]), (graph.output, maps), (graph.value_info, [])):
        kept = list(values)  # the field is emptied before it is filled
        del field[:]
        field.extend(kept)
    return Fitted(model.SerializeToString(), is_batched, any(node.op_type == "QuantizeLinear" for node in nodes))


def _input_nodes(onnx: Any, spec: NetworkSpec, given: Any) -> list[Any]:
    """Give the nodes from a picture to what the network takes, the last of which has its input's name."""
    helper, taken = onnx.helper, spec.input
    steps: list[tuple[str, dict[str, Any], float | None]] = []
    # TensorRT takes whole numbers of 8 bits into a Cast and nothing else.
    steps.append(("Cast", {"to": given.type.tensor_type.elem_type}, None))
    if taken.layout is TensorLayout.NCHW:
        steps.append(("Transpose", {"perm": [0, 3, 1, 2]}, None))
    if taken.scale != 1.0:
        steps.append(("Mul", {}, taken.scale))
    if taken.shift != 0.0:
        steps.append(("Add", {}, taken.shift))
    nodes, tensor = [], PICTURE
    dtype = helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    for number, (kind, attributes, value) in enumerate(steps):
        result = given.name if number == len(steps) - 1 else f"{PICTURE}_{number}"
        inputs = [tensor]
        if value is not None:
            constant = onnx.numpy_helper.from_array(np.asarray(value, dtype))
            nodes.append(helper.make_node("Constant", [], [f"{result}_by"], value=constant))
            inputs.append(f"{result}_by")
        nodes.append(helper.make_node(kind, inputs, [result], name=f"{PICTURE}_{kind}", **attributes))
        tensor = result
    return nodes


def _output_nodes(onnx: Any, output: OutputSpec, name: str) -> list[Any]:
    """Give the nodes that take an output's channels out of a tensor, NCHW and float32."""
    helper, axis = onnx.helper, 1 if output.layout is TensorLayout.NCHW else 3
    bounds = {"from": output.first, "to": output.first + output.count, "axis": axis}
    nodes = [
        helper.make_node(
            "Constant", [], [f"{name}_{key}"], value=onnx.numpy_helper.from_array(np.array([value], np.int64))
        )
        for key, value in bounds.items()
    ]
    nodes.append(helper.make_node("Slice", [output.tensor, *(f"{name}_{key}" for key in bounds)], [f"{name}_part"]))
    part = f"{name}_part"
    if axis == 3:
        nodes.append(helper.make_node("Transpose", [part], [f"{name}_nchw"], perm=[0, 3, 1, 2]))
        part = f"{name}_nchw"
    return [*nodes, helper.make_node("Cast", [part], [name], to=onnx.TensorProto.FLOAT)]
