"""Fits a float network to a processor's registers without changing what it computes: joined channels become round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from posestream.models.engines.operations import constant, set_constant, sources

__all__ = ["widened"]

#: Channels come in multiples of this: a register of AVX-512 holds so many numbers. OpenVINO's fast int8 kernel for
#: depthwise convolutions takes no others, and its float kernels are slower with them.
_MULTIPLE = 16


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where channels can be added to what is joined."""

    #: The convolution that gives one of the parts, and the Add of its bias; None where it has none.
    convolution: Any
    bias: Any | None
    #: How many channels it gives.
    width: int
    #: After so many of the joined channels, so many are added.
    position: int
    count: int
    #: The depthwise convolutions that take what is joined, each with the convolution that takes its channels.
    takers: tuple[tuple[Any, Any], ...]


def widened(model: Any) -> Any:
    """Give a copy of a network in which what depthwise convolutions take of a join has a round number of channels.

    The channels that are added are zero, and whoever takes them multiplies them by zero.
    """
    model = model.clone()
    for join in [op for op in model.get_ordered_ops() if op.get_type_name() == "Concat"]:
        spot = _spot(join)
        if spot is not None:
            _add(spot)
    model.validate_nodes_and_infer_types()
    return model


def _spot(join: Any) -> _Spot | None:
    """Find where channels can be added; None where they need not or cannot be."""
    if join.get_attributes()["axis"] not in (1, -3):
        return None
    widths = [value.get_partial_shape()[1] for value in join.input_values()]
    if not all(width.is_static for width in widths):
        return None
    channels = [width.get_length() for width in widths]
    missing = -sum(channels) % _MULTIPLE
    takers = _takers(join) if missing else ()
    for number, part in enumerate(sources(join)):
        if takers and len(part.output(0).get_target_inputs()) == 1:
            bias = part if part.get_type_name() == "Add" else None
            convolution = sources(part)[0] if bias is not None else part
            is_alone = len(convolution.output(0).get_target_inputs()) == 1
            if is_alone and convolution.get_type_name() == "Convolution" and _is_known(convolution, bias):
                return _Spot(convolution, bias, channels[number], sum(channels[: number + 1]), missing, takers)
    return None


def _is_known(convolution: Any, bias: Any | None) -> bool:
    """Tell whether a convolution's weights and bias are constants, the bias with one number for each channel."""
    weights = constant(sources(convolution)[1])
    if weights is None or bias is None:
        return weights is not None
    values = constant(sources(bias)[1])
    return values is not None and values.shape == (1, len(weights), 1, 1)


def _takers(join: Any) -> tuple[tuple[Any, Any], ...]:
    """Give the depthwise convolutions that take what is joined, each with its one taker; none if others take it too."""
    pairs = []
    for target in join.output(0).get_target_inputs():
        depthwise = target.get_node()
        users = [each.get_node() for each in depthwise.output(0).get_target_inputs()]
        kinds = (depthwise.get_type_name(), *(user.get_type_name() for user in users))
        if kinds != ("GroupConvolution", "Convolution"):
            return ()
        weights = [constant(sources(op)[1]) for op in (depthwise, users[0])]
        if any(each is None for each in weights) or weights[0].shape[1:3] != (1, 1):  # type: ignore[union-attr] # is no None
            return ()
        pairs.append((depthwise, users[0]))
    return tuple(pairs)


def _add(spot: _Spot) -> None:
    _extend(spot.convolution, 0, spot.width, spot.count)
    if spot.bias is not None:
        _extend(spot.bias, 1, spot.width, spot.count)
    for depthwise, user in spot.takers:
        _extend(depthwise, 0, spot.position, spot.count)
        _extend(user, 1, spot.position, spot.count)


def _extend(op: Any, axis: int, position: int, count: int) -> None:
    """Put zeros among an operation's numbers."""
    values = constant(sources(op)[1])
    if values is None:
        raise ValueError(f"{op.get_friendly_name()} takes no constant")
    set_constant(op, 1, np.insert(values, [position] * count, 0, axis))
