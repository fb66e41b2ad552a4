"""Which layers suffer by int8: each is rounded alone, and what that changes at the network's outputs is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.operations import set_constant, sources
from posestream.models.engines.runtime import load_openvino
from posestream.models.importers.openvino_constants import Constants
from posestream.models.quantize.network import FloatNetwork, convolutions, outputs_of

__all__ = ["Harm", "harm_of_layers"]

#: Heatmaps and PAFs of one picture.
_Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, order=True)
class Harm:
    """What rounding one layer does to the network's field maps."""

    #: Power of the error over power of the maps, heatmaps and PAFs added; those of several layers add up about so too.
    noise: float
    layer: str


def harm_of_layers(
    network: FloatNetwork, model: Any, rounded: Any, inputs: Sequence[NDArray[np.float32]]
) -> list[Harm]:
    """Give what rounding each convolution alone does, the worst first.

    Args:
        network: tells which of the outputs are what.
        model: the float network.
        rounded: the same network with all layers rounded, whose ranges are used.
        inputs: what it takes, a few pictures.
    """
    truth = [network.maps(results) for results in outputs_of(model, inputs)]
    known = {op.get_friendly_name(): op for op in convolutions(rounded)}
    constants = Constants()
    harms = []
    for layer in [op.get_friendly_name() for op in convolutions(model)]:
        if layer in known:
            one = _with_one_rounded(model, known[layer], constants)
            got = [network.maps(results) for results in outputs_of(one, inputs)]
            harms.append(Harm(_noise(truth, got), layer))
    return sorted(harms, reverse=True)


def _noise(truth: Sequence[_Maps], got: Sequence[_Maps]) -> float:
    """Give the power of the error over that of the maps, for heatmaps and PAFs each, and their sum.

    Each counts for itself: there is far more power in the PAFs, and the small errors of heatmaps are what becomes
    people who are not there.
    """
    total = 0.0
    for kind in (0, 1):
        power = sum(float(np.square(maps[kind]).sum()) for maps in truth)
        error = sum(float(np.square(right[kind] - maps[kind]).sum()) for right, maps in zip(truth, got, strict=True))
        total += error / power if power else 0.0
    return total


def _with_one_rounded(model: Any, rounded: Any, constants: Constants) -> Any:
    """Give a copy of the float network in which one convolution takes what the rounded one does."""
    opset = load_openvino().opset13
    copy = model.clone()
    (op,) = (each for each in convolutions(copy) if each.get_friendly_name() == rounded.get_friendly_name())
    data, weights = sources(rounded)
    values = constants.value(weights)
    if values is not None:
        set_constant(op, 1, values)
    if data.get_type_name() == "FakeQuantize":
        ranges = [constants.of(source) for source in sources(data)[1:]]
        grid = opset.fake_quantize(op.input_value(0), *ranges, data.get_attributes()["levels"])
        op.input(0).replace_source_output(grid.output(0))
    copy.validate_nodes_and_infer_types()
    return copy
