"""What the constant operations of a network that OpenVINO has read come to, as numbers, int8 ones among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.operations import sources
from posestream.models.importers.quantized import (
    Grid,
    QuantizedWeights,
    Ranges,
    activation_grid,
    fake_quantize,
    quantize_weights,
)

__all__ = ["Constants"]

#: Operations of constants that are computed here.
_FOLDED: dict[str, Callable[..., Any]] = {
    "Convert": lambda values: values,
    "Reshape": lambda values, shape: values.reshape(shape.astype(np.int64)),
    "Multiply": np.multiply,
    "Add": np.add,
    "Subtract": np.subtract,
    "Divide": np.divide,
    "Broadcast": np.broadcast_to,
}


class Constants:
    """Computes constants when they are asked for, each once.

    Args:
        is_float: True if activations are not rounded, so that there is no grid.
    """

    def __init__(self, is_float: bool = False) -> None:
        self._is_float = is_float
        self._known: dict[str, NDArray[Any] | None] = {}
        self._quantized: dict[str, QuantizedWeights] = {}

    def value(self, op: Any) -> NDArray[Any] | None:
        """Give what an operation comes to; None where it depends on the picture. Floats are float32."""
        name = op.get_friendly_name()
        if name not in self._known:
            self._known[name] = self._compute(op, name)
        return self._known[name]

    def of(self, op: Any) -> NDArray[Any]:
        """Give what a constant operation comes to."""
        value = self.value(op)
        if value is None:
            raise ValueError(f"{op.get_friendly_name()} is no constant")
        return value

    def quantized(self, op: Any) -> QuantizedWeights | None:
        """Give constant weights as int8, where the network rounds them so."""
        self.value(op)
        return self._quantized.get(op.get_friendly_name())

    def grid(self, op: Any) -> Grid | None:
        """Give the grid to which an operation rounds an activation; None where it does not."""
        if self._is_float or op.get_type_name() != "FakeQuantize" or self.value(op) is not None:
            return None
        return activation_grid(self._ranges(op), op.get_attributes()["levels"], op.get_friendly_name())

    def _ranges(self, op: Any) -> Ranges:
        return Ranges(*(self.of(source) for source in sources(op)[1:]))

    def _shape(self, op: Any) -> NDArray[Any] | None:
        """Give an operation's shape where no picture's size is in it: a constant's, and that of a shape."""
        value = self.value(op)
        if value is None and op.get_type_name() != "ShapeOf":
            return None
        return np.array(op.output(0).get_shape() if value is None else value.shape, np.int64)

    def _compute(self, op: Any, name: str) -> NDArray[Any] | None:
        kind = op.get_type_name()
        if kind == "Constant":
            values = np.array(op.data)
            return values.astype(np.float32) if values.dtype.kind == "f" else values
        if kind == "ShapeOf":
            return self._shape(sources(op)[0])
        if kind == "FakeQuantize":
            return self._rounded(op, name)
        return self._folded(op, name) if kind in (*_FOLDED, "Concat") else None

    def _rounded(self, op: Any, name: str) -> NDArray[Any] | None:
        """Give constant weights as they are rounded to int8."""
        values = self.value(sources(op)[0])
        if values is None:
            return None
        ranges, levels = self._ranges(op), op.get_attributes()["levels"]
        self._quantized[name] = quantize_weights(values, ranges, levels, name)
        return fake_quantize(values, ranges, levels)

    def _folded(self, op: Any, name: str) -> NDArray[Any] | None:
        """Give what an operation makes of constants."""
        kind = op.get_type_name()
        given = [values for source in sources(op) if (values := self.value(source)) is not None]
        if len(given) < len(sources(op)):
            return None
        if kind == "Concat":
            return np.concatenate(given, op.get_attributes()["axis"])
        result: NDArray[Any] = np.asarray(_FOLDED[kind](*given))
        quantized = self._quantized.get(sources(op)[0].get_friendly_name())
        # The weights of a depthwise convolution get their axis of groups by a Reshape; scales stay with the first one.
        if kind == "Reshape" and quantized is not None and result.shape[0] == len(quantized.scale):
            self._quantized[name] = QuantizedWeights(quantized.values.reshape(result.shape), quantized.scale)
        return result
