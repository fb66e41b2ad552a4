"""A float network as it is quantised: read by OpenVINO, of free sizes, with the inputs that the pipeline gives it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.graph import read_graph
from posestream.models.engines.runtime import brief, load_core, load_openvino
from posestream.models.errors import ModelError
from posestream.models.spec import NetworkSpec, OutputSpec, TensorLayout
from posestream.models.weights import Weights

__all__ = [
    "FloatNetwork",
    "convolutions",
    "is_rounded",
    "outputs_of",
    "save",
]

#: The operations in which a network's time goes, and which are rounded.
_CONVOLUTIONS = ("Convolution", "GroupConvolution")


@dataclass(frozen=True, slots=True)
class FloatNetwork:
    """A network before it is rounded."""

    spec: NetworkSpec
    #: An `openvino.Model` for one picture of any size.
    model: Any
    #: The numbers of its outputs that have the heatmaps and the PAFs.
    heatmaps_output: int
    pafs_output: int

    @classmethod
    def read(cls, spec: NetworkSpec, weights: Weights) -> FloatNetwork:
        """Read a network's files.

        Raises:
            EngineError: OpenVINO cannot read them.
            ModelError: it is rounded to int8 already.
        """
        graph = read_graph(load_core(), spec, weights)
        model = graph.model.clone()
        if is_rounded(model):
            raise ModelError(f"{spec.name} is in int8 already: quantise the float network that it was made of")
        model.reshape([1, -1, -1, 3] if spec.input.layout is TensorLayout.NHWC else [1, 3, -1, -1])
        return cls(spec, model, graph.heatmaps_output, graph.pafs_output)

    def taken(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give what the network takes for a network input of the pipeline (uint8 H×W×3): scaled, in its layout."""
        spec = self.spec.input
        values = image.astype(np.float32) * np.float32(spec.scale) + np.float32(spec.shift)
        batch = values[np.newaxis]
        return batch if spec.layout is TensorLayout.NHWC else np.ascontiguousarray(batch.transpose(0, 3, 1, 2))

    def maps(self, results: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the keypoints' heatmaps (the background's is left out) and the PAFs out of the network's outputs."""
        heatmaps, pafs = self.spec.heatmaps, self.spec.pafs
        keypoints = len(self.spec.layout.keypoints)
        return (
            _channels(results[self.heatmaps_output], heatmaps, keypoints),
            _channels(results[self.pafs_output], pafs, pafs.count),
        )


def _channels(values: NDArray[np.float32], spec: OutputSpec, count: int) -> NDArray[np.float32]:
    axis = 1 if spec.layout is TensorLayout.NCHW else 3
    return np.take(values, range(spec.first, spec.first + count), axis)


def is_rounded(model: Any) -> bool:
    """Tell whether a network rounds values to int8."""
    return any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


def convolutions(model: Any) -> list[Any]:
    """Give a network's convolutions in the order of its work."""
    return [op for op in model.get_ordered_ops() if op.get_type_name() in _CONVOLUTIONS]


def outputs_of(model: Any, inputs: Iterable[NDArray[np.float32]]) -> Iterable[Sequence[NDArray[np.float32]]]:
    """Give a network's outputs for each input, computed in float32 wherever it is not rounded; compiled once a size."""
    core = load_core()
    compiled: dict[tuple[int, ...], Any] = {}
    for values in inputs:
        if values.shape not in compiled:
            shaped = model.clone()
            shaped.reshape(list(values.shape))
            network = core.compile_model(shaped, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            compiled[values.shape] = network.create_infer_request()
        results = compiled[values.shape].infer({0: values})
        yield [np.array(result) for result in results.values()]


def save(model: Any, path: Path) -> None:
    """Write a network as OpenVINO's IR: `path` (.xml), and its .bin beside it.

    Raises:
        ModelError: nothing can be written there.
    """
    try:
        load_openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise ModelError(f"cannot write {path}: {brief(error)}") from error
