"""Which operations belong together: a convolution, its bias, the ReLU and the rounding to int8 behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.operations import sources
from posestream.models.errors import ModelError
from posestream.models.importers.openvino_constants import Constants

__all__ = ["Neighbours", "unknown", "users"]


class Neighbours:
    """Looks around an operation, for what becomes one node with it or moves into its weights."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants

    def bias_of(self, op: Any) -> Any | None:
        """Give the Add that makes a constant for each channel of a convolution its bias; None where none does."""
        takers = users(op)
        if len(takers) != 1 or takers[0].get_type_name() != "Add":
            return None
        others = [each for each in sources(takers[0]) if each.get_friendly_name() != op.get_friendly_name()]
        values = self._constants.value(others[0]) if len(others) == 1 else None
        channels = op.output(0).get_shape()[1]
        return takers[0] if values is not None and values.shape in ((1, channels, 1, 1), (channels, 1, 1)) else None

    def biased(self, op: Any) -> Any | None:
        """Give the convolution whose bias an Add is."""
        for source in sources(op):
            if source.get_type_name() in ("Convolution", "GroupConvolution") and self.bias_of(source) is not None:
                return source
        return None

    def factor_after(self, op: Any) -> NDArray[Any]:
        """Give what a convolution's channels are to be multiplied by: ones, or what brings them to the grid behind.

        A ReLU commutes with positive factors, so that they need no node of their own.
        """
        takers = users(op)
        if len(takers) == 1 and takers[0].get_type_name() == "Relu":
            takers = users(takers[0])
        grid = self._constants.grid(takers[0]) if len(takers) == 1 else None
        channels = op.output(0).get_shape()[1]
        return 1 / grid.scale if grid is not None and len(grid.scale) > 1 else np.ones(channels, np.float32)

    def is_brought_to_grid(self, source: Any, scale: NDArray[Any]) -> bool:
        """Tell whether the convolution before, or before the ReLU, has these channels' scales in its weights."""
        before = sources(source)[0] if source.get_type_name() == "Relu" else source
        is_convolution = before.get_type_name() in ("Convolution", "GroupConvolution")
        if not is_convolution and (before.get_type_name() != "Add" or self.biased(before) is None):
            return False
        return bool(np.array_equal(self.factor_after(before), 1 / scale))

    def check_depthwise(self, op: Any) -> None:
        """Make sure that all who take these channels are convolutions of one channel each, in int8 too."""
        for user in users(op):
            is_depthwise = user.get_type_name() == "GroupConvolution"
            weights = self._constants.quantized(sources(user)[1]) if is_depthwise else None
            if weights is None or weights.values.shape[2] != 1:
                raise unknown(op)


def users(op: Any) -> list[Any]:
    """Give the operations that take an operation's result."""
    return [target.get_node() for target in op.output(0).get_target_inputs()]


def unknown(op: Any) -> ModelError:
    """Give the error for an operation that cannot be converted."""
    return ModelError(f"{op.get_friendly_name()} is a {op.get_type_name()}, which cannot be converted to ONNX here")
