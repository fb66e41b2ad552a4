"""An ONNX file in the making: nodes and weights are added in order, then it is checked and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.errors import ModelError
from posestream.models.importers.extra import load_onnx

__all__ = ["Dims", "OnnxGraph"]

#: ONNX's version of operators and of the file: old enough for every engine here, new enough for int8 per channel.
_OPSET = 17
_IR_VERSION = 8
#: Sizes of an input or output: a number, or the name of one that is free.
Dims = Sequence[int | str]


class OnnxGraph:
    """Collects nodes and weights; names are made unique, so that callers need not.

    Raises:
        ModelError: onnx is not installed.
    """

    def __init__(self, name: str) -> None:
        self._onnx = load_onnx()
        self._name = name
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}
        self._names: set[str] = set()

    def __repr__(self) -> str:
        return f"OnnxGraph({self._name}, {len(self._nodes)} nodes, {len(self._weights)} weights)"

    def name(self, wanted: str) -> str:
        """Give a name that nothing has yet, and take it."""
        name, number = wanted, 1
        while name in self._names:
            name, number = f"{wanted}_{number}", number + 1
        self._names.add(name)
        return name

    def weights(self, wanted: str, values: NDArray[Any]) -> str:
        """Add an array that is part of the network, of its own shape (a scalar too); give its name."""
        name = self.name(wanted)
        self._weights[name] = self._onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def node(self, kind: str, inputs: Sequence[str], wanted: str, **attributes: Any) -> str:
        """Add an operation of one result; give the result's name."""
        result = self.name(wanted)
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [result], name=result, **attributes))
        return result

    def rename(self, old: str, new: str) -> None:
        """Give a node's result another name; what had that name gets one of its own."""
        names = {old: new, new: self.name(f"{new}_before")}
        for node in self._nodes:
            for tensors in (node.input, node.output):
                tensors[:] = [names.get(name, name) for name in tensors]

    def save(self, path: Path, inputs: Mapping[str, Dims], outputs: Mapping[str, Dims]) -> None:
        """Check the network and write it; the same network gives the same bytes.

        Args:
            path: the file.
            inputs: names and sizes, float32.
            outputs: names and sizes, float32.

        Raises:
            ModelError: it is no sound network (a bug here, or an operation put together wrongly by its file).
        """
        helper, float32 = self._onnx.helper, self._onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info(name, float32, list(dims)) for name, dims in inputs.items()],
            [helper.make_tensor_value_info(name, float32, list(dims)) for name, dims in outputs.items()],
            list(self._weights.values()),
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="posestream")
        try:
            self._onnx.checker.check_model(model, full_check=True)
        except (self._onnx.checker.ValidationError, self._onnx.shape_inference.InferenceError) as error:
            raise ModelError(f"{self._name} cannot be written as ONNX: {error}") from error
        path.write_bytes(model.SerializeToString(deterministic=True))
