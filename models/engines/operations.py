"""The operations of a network that OpenVINO has read: what they take, and constants put in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.runtime import load_openvino

__all__ = ["constant", "set_constant", "sources"]


def sources(op: Any) -> list[Any]:
    """Give the operations whose results an operation takes."""
    return [value.get_node() for value in op.input_values()]


def constant(op: Any) -> NDArray[np.float32] | None:
    """Give the numbers of a constant, also of one that is kept in fewer bits; None where an operation is none."""
    if op.get_type_name() == "Convert":
        op = sources(op)[0]
    return np.array(op.data, np.float32) if op.get_type_name() == "Constant" else None


def set_constant(op: Any, number: int, values: NDArray[Any]) -> None:
    """Let an operation take numbers instead of what it takes as its input of this number."""
    replacement = load_openvino().opset13.constant(values.astype(np.float32))
    op.input(number).replace_source_output(replacement.output(0))
