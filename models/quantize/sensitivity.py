"""Which layers suffer by int8: each is rounded alone, and what that changes at the network's outputs is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.runtime import load_openvino
from posestream.models.importers.openvino_constants import Constants
from posestream.models.quantize.network import convolutions, outputs_of, sources

__all__ = ["Harm", "harm_of_layers"]


@dataclass(frozen=True, slots=True, order=True)
class Harm:
    """What rounding one layer does to the network's outputs."""

    #: Power of the error over power of the outputs; errors of several layers add up about as these do.
    noise: float
    layer: str


def harm_of_layers(
    model: Any,
    rounded: Any,
    inputs: Sequence[NDArray[np.float32]],
) -> list[Harm]:
    """Give what rounding each convolution alone does, the worst first.

    Args:
        model: the float network.
        rounded: the same network with all layers rounded, whose ranges are used.
        inputs: what it takes, a few pictures.
    """
    truth = list(outputs_of(model, inputs))
    power = sum(float(np.square(values).sum()) for results in truth for values in results)
    known = {op.get_friendly_name(): op for op in convolutions(rounded)}
    layers = [op.get_friendly_name() for op in convolutions(model) if op.get_friendly_name() in known]
    constants = Constants()
    found = []
    for layer in layers:
        one = _with_one_rounded(model, known[layer], constants)
        error = sum(
            float(np.square(right - got).sum())
            for results, gotten in zip(truth, outputs_of(one, inputs), strict=True)
            for right, got in zip(results, gotten, strict=True)
        )
        found.append(Harm(error / power if power else 0.0, layer))
    return sorted(found, reverse=True)


def _with_one_rounded(model: Any, rounded: Any, constants: Constants) -> Any:
    """Give a copy of the float network in which one convolution takes what the rounded one does."""
    opset = load_openvino().opset13
    copy = model.clone()
    (op,) = (each for each in convolutions(copy) if each.get_friendly_name() == rounded.get_friendly_name())
    data, weights = sources(rounded)
    values = constants.value(weights)
    if values is not None:
        op.input(1).replace_source_output(opset.constant(values.astype(np.float32)).output(0))
    if data.get_type_name() == "FakeQuantize":
        ranges = [constants.of(source) for source in sources(data)[1:]]
        grid = opset.fake_quantize(op.input_value(0), *ranges, data.get_attributes()["levels"])
        op.input(0).replace_source_output(grid.output(0))
    copy.validate_nodes_and_infer_types()
    return copy
