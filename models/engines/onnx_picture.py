"""Fits an ONNX network to what the pipeline gives (uint8 NHWC) and takes (heatmaps and PAFs apart, float32 NCHW)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from posestream.models.engines.runtime import brief
from posestream.models.errors import EngineError
from posestream.models.importers.extra import load_onnx
from posestream.models.spec import NetworkSpec, OutputSpec, TensorLayout

__all__ = ["Fitted", "fitted"]

#: What the names of all that is added begin with; longer where the network has such names already.
_PREFIX = "posestream"
#: The version of operators from which a Slice takes its bounds as inputs; before, they are attributes.
_SLICE_BY_INPUTS = 10
#: Both are the names of ONNX's own operators.
_ONNX_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network that takes pictures and gives maps."""

    #: The ONNX file.
    model: bytes
    #: True if it takes any number of pictures together; else it takes one.
    is_batched: bool
    #: True if it rounds to int8.
    is_int8: bool
    #: What the names of its input, outputs and free sizes begin with.
    prefix: str = _PREFIX

    @property
    def picture(self) -> str:
        """The input's name."""
        return f"{self.prefix}_picture"

    @property
    def heatmaps(self) -> str:
        """The name of the output with the heatmaps."""
        return f"{self.prefix}_heatmaps"

    @property
    def pafs(self) -> str:
        """The name of the output with the PAFs."""
        return f"{self.prefix}_pafs"

    @property
    def height(self) -> str:
        """The name of the picture's height, which is free."""
        return f"{self.prefix}_height"

    @property
    def width(self) -> str:
        """The name of the picture's width, which is free."""
        return f"{self.prefix}_width"


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
    result = Fitted(b"", is_batched, False, _free_prefix(graph))
    outputs = {output.name for output in graph.output}
    for output in (spec.heatmaps, spec.pafs):
        if output.tensor not in outputs:
            raise EngineError(f"{spec.name}: {path} has no output {output.tensor!r}, only {', '.join(outputs)}")
    version = next(each.version for each in model.opset_import if each.domain in _ONNX_DOMAINS)
    is_by_inputs = version >= _SLICE_BY_INPUTS
    ends = ((result.heatmaps, spec.heatmaps), (result.pafs, spec.pafs))
    after = [node for name, output in ends for node in _output_nodes(onnx, output, name, is_by_inputs)]
    nodes = [*_input_nodes(onnx, spec, given, result.picture), *graph.node, *after]
    helper, types = onnx.helper, onnx.TensorProto
    batch = f"{result.prefix}_batch"
    maps = [helper.make_tensor_value_info(name, types.FLOAT, [batch, end.count, None, None]) for name, end in ends]
    sizes = [batch, result.height, result.width, 3]
    picture = helper.make_tensor_value_info(result.picture, types.UINT8, sizes)
    for field, values in ((graph.node, nodes), (graph.input, [picture]), (graph.output, maps), (graph.value_info, [])):
        kept = list(values)  # the field is emptied before it is filled
        del field[:]
        field.extend(kept)
    is_int8 = any(node.op_type == "QuantizeLinear" for node in nodes)
    return replace(result, model=model.SerializeToString(), is_int8=is_int8)


def _free_prefix(graph: Any) -> str:
    """Give a beginning of names that no tensor and no node of a network has, those of its branches and loops included.

    A name is a text of its file, so that the file's bytes tell.
    """
    content: bytes = graph.SerializeToString()
    prefix = _PREFIX
    while f"{prefix}_".encode() in content:
        prefix += "_"
    return prefix


def _input_nodes(onnx: Any, spec: NetworkSpec, given: Any, picture: str) -> list[Any]:
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
    nodes, tensor = [], picture
    dtype = helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    for number, (kind, attributes, value) in enumerate(steps):
        result = given.name if number == len(steps) - 1 else f"{picture}_{number}"
        inputs = [tensor]
        if value is not None:
            constant = onnx.numpy_helper.from_array(np.asarray(value, dtype))
            nodes.append(helper.make_node("Constant", [], [f"{result}_by"], value=constant))
            inputs.append(f"{result}_by")
        nodes.append(helper.make_node(kind, inputs, [result], name=f"{picture}_{kind}", **attributes))
        tensor = result
    return nodes


def _output_nodes(onnx: Any, output: OutputSpec, name: str, is_by_inputs: bool) -> list[Any]:
    """Give the nodes that take an output's channels out of a tensor, NCHW and float32."""
    helper, axis = onnx.helper, 1 if output.layout is TensorLayout.NCHW else 3
    bounds = {"starts": [output.first], "ends": [output.first + output.count], "axes": [axis]}
    part, nodes = f"{name}_part", []
    if is_by_inputs:
        constants = {f"{name}_{key}": onnx.numpy_helper.from_array(np.array(ends)) for key, ends in bounds.items()}
        nodes = [helper.make_node("Constant", [], [key], value=value) for key, value in constants.items()]
        nodes.append(helper.make_node("Slice", [output.tensor, *constants], [part]))
    else:
        nodes.append(helper.make_node("Slice", [output.tensor], [part], **bounds))
    if axis == 3:
        nodes.append(helper.make_node("Transpose", [part], [f"{name}_nchw"], perm=[0, 3, 1, 2]))
        part = f"{name}_nchw"
    return [*nodes, helper.make_node("Cast", [part], [name], to=onnx.TensorProto.FLOAT)]
