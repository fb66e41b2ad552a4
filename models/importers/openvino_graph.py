"""Turns a network that OpenVINO has read (IR, TensorFlow's frozen graph) into ONNX: NCHW, explicit pads, int8 kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.operations import sources
from posestream.models.engines.runtime import brief, load_core
from posestream.models.errors import ModelError
from posestream.models.importers.frozen_graph import check_frozen_graph
from posestream.models.importers.imported import Converted, Tensor
from posestream.models.importers.onnx_graph import OnnxGraph
from posestream.models.importers.openvino_constants import Constants
from posestream.models.importers.openvino_neighbours import Neighbours, unknown, users
from posestream.models.importers.openvino_pads import explicit_pads
from posestream.models.importers.quantized import QuantizedWeights

__all__ = ["convert_openvino"]

#: Sizes in which the graph is looked at, in multiples of the network's own: what must be the same in all of them
#: (pads, strides) is then the same in any.
_LOOKS = ((6, 7), (9, 8))
#: Axes of NHWC in the order of NCHW, and back.
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
#: Operations that make nothing of the picture: its end, and sizes, which only constants are made of.
_NO_TENSORS = ("Result", "ShapeOf")
#: Operations without attributes, and their names in ONNX.
_PLAIN = {
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
    "Tanh": "Tanh",
    "Add": "Add",
    "Multiply": "Mul",
    "Subtract": "Sub",
    "Divide": "Div",
}


def convert_openvino(paths: tuple[Path, ...], path: Path, multiple: int = 8, is_float: bool = False) -> Converted:
    """Write a network as an ONNX file with free batch, height and width, and tell its outputs.

    Args:
        paths: the network's files, as OpenVINO reads them: `.pb`, or `.xml` and `.bin`.
        path: the ONNX file.
        multiple: input sizes are multiples of this.
        is_float: True to leave out the rounding of activations to int8; the weights stay those of the int8 network.

    Raises:
        ModelError: it cannot be read, has an operation that is not known here, or pads unlike at different sizes.
    """
    if paths[0].suffix == ".pb":
        check_frozen_graph(paths[0])
    core = load_core()
    try:
        model = core.read_model(*paths)
        looks = [_shaped(model, multiple * height, multiple * width) for height, width in _LOOKS]
    except RuntimeError as error:
        raise ModelError(f"cannot read {paths[0]}: {brief(error)}") from error
    return _Writer(paths[0].stem, looks, is_float).write(path)


def _shaped(model: Any, height: int, width: int) -> Any:
    if len(model.inputs) != 1 or model.input(0).get_partial_shape().rank.get_length() != 4:
        raise ModelError(f"{model.get_friendly_name()} does not take one picture")
    model = model.clone()
    is_nhwc = _is_nhwc(model)
    model.reshape([1, height, width, 3] if is_nhwc else [1, 3, height, width])
    return model


def _is_nhwc(model: Any) -> bool:
    last = model.input(0).get_partial_shape()[3]
    return bool(last.is_static) and last.get_length() == 3


class _Writer:
    """Walks through the operations of one network, looked at in two sizes."""

    def __init__(self, name: str, looks: list[Any], is_float: bool) -> None:
        self._graph = OnnxGraph(name)
        self._model = looks[0]
        self._is_nhwc = _is_nhwc(looks[0])
        #: The same operation at each size, by name.
        self._looks = [{op.get_friendly_name(): op for op in look.get_ordered_ops()} for look in looks]
        self._constants = Constants(is_float)
        self._around = Neighbours(self._constants)
        #: The tensor that each operation gives.
        self._tensors: dict[str, str] = {}
        self._input = ""

    def write(self, path: Path) -> Converted:
        """Convert every operation and write the file."""
        operations = self._model.get_ordered_ops()
        for op in operations:
            if op.get_type_name() not in _NO_TENSORS and self._constants.value(op) is None:
                self._tensors[op.get_friendly_name()] = self._node(op, op.get_type_name(), op.get_friendly_name())
        ends = [self._result(op) for op in operations if op.get_type_name() == "Result"]
        free = ("batch", "height", "width")
        self._graph.save(
            path,
            {self._input: (free[0], 3, *free[1:])},
            {end.name: (free[0], end.channels, f"{end.name}_height", f"{end.name}_width") for end in ends},
        )
        return Converted(tuple(ends), any(self._constants.grid(op) is not None for op in operations))

    def _node(self, op: Any, kind: str, name: str) -> str:  # noqa: PLR0911 - one line for each kind
        """Add the nodes of one operation; give the result's name."""
        if kind == "Parameter":
            self._input = self._graph.name(name)
            return self._input
        if kind in ("Convolution", "GroupConvolution"):
            bias = self._around.bias_of(op)
            # With a bias it becomes one node, when that one's turn comes.
            return "" if bias is not None else self._convolution(op, name, None)
        if kind == "Add" and (convolution := self._around.biased(op)) is not None:
            return self._convolution(convolution, name, op)
        if kind == "Convert":
            return self._operand(sources(op)[0])
        if kind == "Transpose":
            return self._transpose(op)
        if kind == "MaxPool":
            return self._pool(op, name)
        if kind == "FakeQuantize":
            return self._rounded(op, name)
        if kind == "PRelu":
            slopes = self._constants.of(sources(op)[1]).reshape(-1, 1, 1)
            tensors = [self._operand(sources(op)[0]), self._graph.weights(f"{name}/slopes", slopes)]
            return self._graph.node("PRelu", tensors, name)
        return self._plain(op, kind, name)

    def _plain(self, op: Any, kind: str, name: str) -> str:
        """Add an operation that ONNX has under nearly the same name."""
        attributes: dict[str, Any] = {}
        if kind == "Elu":
            attributes = {"alpha": op.get_attributes()["alpha"]}
        elif kind == "Concat" and op.get_attributes()["axis"] in (1, -3):
            attributes = {"axis": 1}
        elif kind not in _PLAIN:
            raise unknown(op)
        return self._graph.node(
            _PLAIN.get(kind, kind), [self._operand(each) for each in sources(op)], name, **attributes
        )

    def _operand(self, source: Any) -> str:
        """Give an input's tensor; constant numbers become weights."""
        name = source.get_friendly_name()
        if name not in self._tensors:
            if self._constants.value(source) is None:
                raise unknown(source)
            self._tensors[name] = self._graph.weights(name, self._constants.of(source).astype(np.float32))
        return self._tensors[name]

    def _transpose(self, op: Any) -> str:
        """Pass over the change between NHWC and NCHW at both ends: here all is NCHW."""
        source, order = sources(op)[0], self._constants.of(sources(op)[1]).tolist()
        is_entry = source.get_type_name() == "Parameter" and self._is_nhwc and order == _TO_NCHW
        is_exit = order == _TO_NHWC and {user.get_type_name() for user in users(op)} == {"Result"}
        if not is_entry and not is_exit:
            raise unknown(op)
        return self._operand(source)

    def _pool(self, op: Any, name: str) -> str:
        attributes = op.get_attributes()
        return self._graph.node(
            "MaxPool",
            [self._operand(sources(op)[0])],
            name,
            kernel_shape=list(attributes["kernel"]),
            strides=list(attributes["strides"]),
            pads=self._pads(op, attributes["kernel"]),
            ceil_mode=int(attributes["rounding_type"] == "ceil"),
        )

    def _convolution(self, op: Any, name: str, bias: Any | None) -> str:
        data, source = sources(op)
        weights, attributes = self._constants.of(source), op.get_attributes()
        group = weights.shape[0] if op.get_type_name() == "GroupConvolution" else 1
        shape = weights.shape if group == 1 else (weights.shape[0] * weights.shape[1], *weights.shape[2:])
        addends = [each for each in sources(bias) if self._constants.value(each) is not None] if bias else []
        bias_values = self._constants.of(addends[0]).reshape(-1) if addends else None
        factor = self._around.factor_after(bias or op)
        grid, quantized = self._constants.grid(data), self._constants.quantized(source)
        if grid is not None and quantized is not None:
            parts = self._int8_parts(name, quantized, shape, grid.scale, factor, bias_values)
        else:
            parts = [self._graph.weights(f"{name}/weights", weights.reshape(shape) * factor.reshape(-1, 1, 1, 1))]
            if bias_values is not None:
                parts.append(self._graph.weights(f"{name}/bias", bias_values * factor))
        return self._graph.node(
            "Conv",
            [self._operand(data), *parts],
            name,
            kernel_shape=list(shape[2:]),
            strides=list(attributes["strides"]),
            dilations=list(attributes["dilations"]),
            pads=self._pads(op, shape[2:]),
            group=group,
        )

    def _int8_parts(
        self,
        name: str,
        weights: QuantizedWeights,
        shape: tuple[int, ...],
        given: NDArray[Any],
        factor: NDArray[Any],
        bias: NDArray[Any] | None,
    ) -> list[str]:
        """Add int8 weights and an int32 bias; scales of the channels that come and go are in the weights' own."""
        scale = np.broadcast_to(weights.scale, shape[:1]) * factor * (given if len(given) > 1 else 1.0)
        parts = [self._integers(f"{name}/weights", weights.values.reshape(shape), scale)]
        if bias is not None:
            step = scale.astype(np.float64) * (1.0 if len(given) > 1 else float(given[0]))
            parts.append(self._integers(f"{name}/bias", np.rint(bias * factor / step).astype(np.int32), step))
        return parts

    def _integers(self, name: str, values: NDArray[Any], scale: NDArray[Any]) -> str:
        tensors = [
            self._graph.weights(name, values),
            self._graph.weights(f"{name}/scales", scale.astype(np.float32)),
            self._graph.weights(f"{name}/zeros", np.zeros(len(scale), values.dtype)),
        ]
        return self._graph.node("DequantizeLinear", tensors, f"{name}/values", axis=0)

    def _rounded(self, op: Any, name: str) -> str:
        """Round an activation; a scale for each channel is taken out before and put into the weights after."""
        grid, source = self._constants.grid(op), sources(op)[0]
        if grid is None:
            return self._operand(source)
        tensor, scale = self._operand(source), grid.scale
        if len(scale) > 1:
            self._around.check_depthwise(op)
            if not self._around.is_brought_to_grid(source, scale):
                unscaled = self._graph.weights(f"{name}/unscale", (1 / scale).reshape(-1, 1, 1))
                tensor = self._graph.node("Mul", [tensor, unscaled], f"{name}/unscaled")
            scale = np.ones(1, np.float32)
        factor = self._graph.weights(f"{name}/scale", scale.reshape(()))
        zero = self._graph.weights(f"{name}/zero", np.array(grid.zero, np.uint8))
        integers = self._graph.node("QuantizeLinear", [tensor, factor, zero], f"{name}/integers")
        return self._graph.node("DequantizeLinear", [integers, factor, zero], name)

    def _pads(self, op: Any, kernel: Sequence[int]) -> list[int]:
        return explicit_pads([look[op.get_friendly_name()] for look in self._looks], kernel)

    def _result(self, op: Any) -> Tensor:
        """Name an output as the network does, and tell what it is made of."""
        source = sources(op)[0]
        wanted = op.input_value(0).get_any_name().removesuffix(":0")
        tensor = self._tensors[source.get_friendly_name()]
        if tensor != wanted:
            self._graph.rename(tensor, wanted)
        if source.get_type_name() == "Transpose":
            source = sources(source)[0]
        strides = {self._stride(look, source.get_friendly_name()) for look in self._looks}
        if len(strides) != 1 or not next(iter(strides)).is_integer():
            raise ModelError(f"{wanted}: its maps are no whole part of the picture")
        is_joined = source.get_type_name() == "Concat"
        parts = source.input_values() if is_joined else [source.output(0)]
        return Tensor(wanted, tuple(int(part.get_shape()[1]) for part in parts), int(strides.pop()))

    def _stride(self, look: dict[str, Any], name: str) -> float:
        (parameter,) = (op for op in look.values() if op.get_type_name() == "Parameter")
        height: int = parameter.output(0).get_shape()[1 if self._is_nhwc else 2]
        cells: int = look[name].output(0).get_shape()[2]
        return height / cells
