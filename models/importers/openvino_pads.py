"""Pads in numbers, for operations that derive them from the size of what they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posestream.models.errors import ModelError

__all__ = ["explicit_pads"]


def explicit_pads(looks: list[Any], kernel: Sequence[int]) -> list[int]:
    """Give an operation's pads as ONNX orders them: top, left, bottom, right.

    Args:
        looks: the same convolution or pooling in networks of several input sizes.
        kernel: the window's height and width.

    Raises:
        ModelError: they are not the same in all sizes.
    """
    attributes = looks[0].get_attributes()
    if attributes["auto_pad"] == "explicit":
        return [*attributes["pads_begin"], *attributes["pads_end"]]
    if attributes["auto_pad"] == "valid":
        return [0] * 4
    found = {_same_pads(look, kernel) for look in looks}
    if len(found) != 1:
        raise ModelError(f"{looks[0].get_friendly_name()} pads otherwise at other sizes, which ONNX cannot say")
    return list(found.pop())


def _same_pads(op: Any, kernel: Sequence[int]) -> tuple[int, ...]:
    """Give the pads that keep `size / stride` cells (rounded up); the odd one is where auto_pad says."""
    attributes = op.get_attributes()
    begins, ends = [], []
    for axis in range(2):
        size, stride = op.input_value(0).get_shape()[2 + axis], attributes["strides"][axis]
        window = (kernel[axis] - 1) * attributes["dilations"][axis] + 1
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        small = total // 2
        is_upper = attributes["auto_pad"] == "same_upper"
        begins.append(small if is_upper else total - small)
        ends.append(total - small if is_upper else small)
    return (*begins, *ends)
