"""Reads a network for OpenVINO and fits it to what the pipeline gives (uint8 NHWC) and takes (float32 NCHW)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posestream.models.engines.runtime import brief
from posestream.models.engines.widen import widened
from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec, OutputSpec, TensorLayout
from posestream.models.weights import Weights

__all__ = ["Graph", "read_graph"]

#: What OpenVINO reads of the formats that networks come in.
_SUFFIXES = (".xml", ".pb", ".onnx")
#: An IR names its root element within this many bytes.
_IR_HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Graph:
    """A network as OpenVINO read it, and which of its outputs hold the heatmaps and the PAFs."""

    spec: NetworkSpec
    model: Any
    heatmaps_output: int
    pafs_output: int

    def shaped(self, openvino: Any, height: int, width: int) -> Any:
        """Give a copy for uint8 pictures of one size, or of any size where height and width are −1."""
        model = self.model.clone()
        is_nhwc = self.spec.input.layout is TensorLayout.NHWC
        model.reshape([1, height, width, 3] if is_nhwc else [1, 3, height, width])
        processor = openvino.preprocess.PrePostProcessor(model)
        self._adapt_input(openvino, processor.input())
        for output in range(len(model.outputs)):
            self._adapt_output(openvino, processor.output(output))
        return processor.build()

    def _adapt_input(self, openvino: Any, info: Any) -> None:
        spec = self.spec.input
        info.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        info.model().set_layout(openvino.Layout(spec.layout.upper()))
        if (spec.scale, spec.shift) != (1.0, 0.0):
            # Its order is (value − mean) / scale; ours is value · scale + shift.
            steps = info.preprocess().convert_element_type(openvino.Type.f32)
            steps.mean(-spec.shift / spec.scale).scale(1.0 / spec.scale)

    def _adapt_output(self, openvino: Any, info: Any) -> None:
        info.tensor().set_element_type(openvino.Type.f32)
        if self.spec.heatmaps.layout is TensorLayout.NHWC:
            info.model().set_layout(openvino.Layout("NHWC"))
            info.tensor().set_layout(openvino.Layout("NCHW"))


def read_graph(core: Any, spec: NetworkSpec, weights: Weights) -> Graph:
    """Read a network's files.

    Raises:
        EngineError: they are damaged, of a format that OpenVINO does not read, or lack the outputs of the spec.
    """
    path, *others = weights.paths
    _check_format(spec, path)
    try:
        model = core.read_model(path, others[0]) if others else core.read_model(path)
    except RuntimeError as error:
        raise EngineError(f"{spec.name}: OpenVINO cannot read {path}: {brief(error)}") from error
    # Before any size is compiled, so that each has it.
    model = widened(model)
    return Graph(spec, model, _find_output(spec, model, spec.heatmaps), _find_output(spec, model, spec.pafs))


def _check_format(spec: NetworkSpec, path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        raise EngineError(f"{spec.name}: OpenVINO cannot read {path}: it reads {', '.join(_SUFFIXES)}")
    if path.suffix == ".xml":
        # What is no IR goes to OpenVINO's other readers, and those write to stderr.
        with path.open("rb") as file:
            head = file.read(_IR_HEAD_BYTES)
        if b"<net" not in head or b"version=" not in head:
            raise EngineError(f"{spec.name}: {path} is no OpenVINO network: delete it and fetch it again")


def _find_output(spec: NetworkSpec, model: Any, output: OutputSpec) -> int:
    for number, port in enumerate(model.outputs):
        # TensorFlow's names end in the number of the operation's output.
        if {output.tensor, f"{output.tensor}:0"} & set(port.get_names()):
            return number
    names = ", ".join(sorted(name for port in model.outputs for name in port.get_names()))
    raise EngineError(f"{spec.name}: the network has no output {output.tensor!r}, only {names}")
