"""Numbers that OpenVINO's FakeQuantize rounds, as ONNX's integers, scales and zero points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posestream.models.errors import ModelError

__all__ = ["Grid", "QuantizedWeights", "Ranges", "activation_grid", "fake_quantize", "quantize_weights"]

#: Levels of an activation and of a weight (one of 256 is left out, so that zero is in the middle).
_ACTIVATION_LEVELS, _WEIGHT_LEVELS = 256, 255
#: How far a zero point may be from a whole number: the files are in float16.
_ZERO_POINT_SLACK = 0.1

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranges:
    """The four ranges of a FakeQuantize: input from and to, output from and to."""

    input_low: Array
    input_high: Array
    output_low: Array
    output_high: Array


@dataclass(frozen=True, slots=True)
class Grid:
    """The values that an activation is rounded to: `(q − zero) · scale` with q from 0 to 255."""

    #: One, or one per channel.
    scale: Array
    zero: int


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """Weights as int8 with one scale for each of their first axis, and no zero point."""

    values: NDArray[np.int8]
    scale: Array


def activation_grid(ranges: Ranges, levels: int, name: str) -> Grid:
    """Give the grid of an activation's FakeQuantize.

    Raises:
        ModelError: it is no grid of 256 levels with one zero point for all channels.
    """
    low, high = ranges.input_low.astype(np.float64), ranges.input_high.astype(np.float64)
    is_same = np.allclose(low, ranges.output_low) and np.allclose(high, ranges.output_high)
    if levels != _ACTIVATION_LEVELS or not is_same:
        raise ModelError(f"{name} rounds to {levels} levels or shifts what it rounds, which is not known here")
    scale = (high - low) / (levels - 1)
    zeros = -low / scale
    zero = int(np.rint(zeros.mean()))
    if np.abs(zeros - zero).max() > _ZERO_POINT_SLACK:
        raise ModelError(f"{name} has zero points from {zeros.min():.2f} to {zeros.max():.2f}, and ONNX takes one")
    return Grid(scale.astype(np.float32).reshape(-1), zero)


def quantize_weights(values: Array, ranges: Ranges, levels: int, name: str) -> QuantizedWeights:
    """Give a weight's FakeQuantize as int8.

    Raises:
        ModelError: its levels are not symmetric around zero.
    """
    low, high = ranges.output_low.astype(np.float64), ranges.output_high.astype(np.float64)
    if levels != _WEIGHT_LEVELS or not np.allclose(low, -high):
        raise ModelError(f"{name} rounds weights to {levels} levels or not around zero, which is not known here")
    scale = np.broadcast_to((high - low) / (levels - 1), (values.shape[0], *[1] * (values.ndim - 1)))
    rounded = _levels_of(values, ranges, levels) - (levels - 1) // 2
    return QuantizedWeights(rounded.astype(np.int8), scale.astype(np.float32).reshape(-1))


def fake_quantize(values: Array, ranges: Ranges, levels: int) -> Array:
    """Compute FakeQuantize (OpenVINO's operation set 1)."""
    low, high = ranges.output_low, ranges.output_high
    return (_levels_of(values, ranges, levels) / (levels - 1) * (high - low) + low).astype(np.float32)


def _levels_of(values: Array, ranges: Ranges, levels: int) -> NDArray[np.float64]:
    """Give the number of each value's level, from 0."""
    low, high = ranges.input_low.astype(np.float64), ranges.input_high.astype(np.float64)
    return np.rint((np.clip(values, low, high) - low) / (high - low) * (levels - 1))
