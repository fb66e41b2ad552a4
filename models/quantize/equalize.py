"""Makes a float network fit for int8 without changing what it computes: channels of unlike sizes become alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.operations import set_constant, sources
from posestream.models.importers.openvino_constants import Constants
from posestream.models.quantize.network import convolutions, outputs_of

__all__ = ["equalized"]

#: How much of the unlikeness is taken from the values between two convolutions; the rest from the second one's weights.
#: SmoothQuant's α (Xiao et al., "SmoothQuant", 2023, section 4). Of 0, 0.25, 0.4, 0.5, 0.6, 0.75 and 1, on
#: mobilenet-thin, 0.4 and 0.5 lose least: see docs/quantize.md.
_SHARE = 0.4
#: A channel is made at most so many times larger or smaller; those that are always zero stay what they are.
_MOST = 1e4


@dataclass(frozen=True, slots=True)
class _Pair:
    """A depthwise convolution and the convolution that alone takes its channels, as they are."""

    first: Any
    second: Any


def equalized(model: Any, inputs: Sequence[NDArray[np.float32]]) -> Any:
    """Give a copy of a network in which each depthwise convolution's channels are alike in size.

    One step of int8 is the same for all channels of what an ordinary convolution takes. Where a depthwise convolution
    before it has channels that span a hundred times as much as others, with no ReLU to bound them, the small ones are
    rounded to nothing. A channel can be scaled in the first convolution's weights and back in the second one's: the
    network computes the same, and both are rounded better (after Nagel et al., "Data-Free Quantization through Weight
    Equalization and Bias Correction", 2019, section 4.1, with SmoothQuant's rule for how far).
    """
    model = model.clone()
    constants = Constants()
    pairs = _pairs(model, constants)
    if not pairs:
        return model
    for pair, most in zip(pairs, _most_of_channels(model, [pair.first for pair in pairs], inputs), strict=True):
        _scale(pair, most, constants)
    model.validate_nodes_and_infer_types()
    return model


def _pairs(model: Any, constants: Constants) -> list[_Pair]:
    found = []
    for second in convolutions(model):
        first = sources(second)[0]
        if first.get_type_name() != "GroupConvolution" or second.get_type_name() != "Convolution":
            continue
        takers = first.output(0).get_target_inputs()
        weights = [constants.value(sources(each)[1]) for each in (first, second)]
        if len(takers) == 1 and all(each is not None for each in weights):
            found.append(_Pair(first, second))
    return found


def _most_of_channels(
    model: Any, operations: list[Any], inputs: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Give the largest absolute value of each channel of each operation over all inputs."""
    names = [op.get_friendly_name() for op in operations]
    looked = model.clone()
    by_name = {op.get_friendly_name(): op for op in looked.get_ops()}
    before = len(looked.outputs)
    looked.add_outputs([by_name[name].output(0) for name in names])
    most = [np.zeros(1, np.float32)] * len(names)
    for results in outputs_of(looked, inputs):
        for number, values in enumerate(results[before:]):
            most[number] = np.maximum(most[number], np.abs(values).max(axis=(0, 2, 3)))
    return most


def _scale(pair: _Pair, most: NDArray[np.float32], constants: Constants) -> None:
    """Scale a pair's channels in the first one's weights, and back in the second one's."""
    first, second = (constants.of(sources(op)[1]) for op in (pair.first, pair.second))
    largest = np.abs(second).max(axis=(0, 2, 3))
    is_used = (most > 0) & (largest > 0)
    factors = np.ones(len(most), np.float64)
    factors[is_used] = largest[is_used] ** (1 - _SHARE) / most[is_used].astype(np.float64) ** _SHARE
    if is_used.any():
        # Only what they are to one another matters.
        factors[is_used] /= np.exp(np.log(factors[is_used]).mean())
    # What nobody takes must not set the step of the others.
    factors[largest == 0] = 0.0
    factors = np.clip(factors, 1 / _MOST, _MOST).astype(np.float32)
    # Groups × channels of each group come first in its weights.
    set_constant(pair.first, 1, first * factors.reshape(*first.shape[:2], 1, 1, 1))
    set_constant(pair.second, 1, second / factors.reshape(1, -1, 1, 1))
