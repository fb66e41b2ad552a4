"""Turns a Caffe network into ONNX: free height and width, explicit pads, the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.errors import ModelError
from posestream.models.importers.caffe_file import CaffeLayer, CaffeNet
from posestream.models.importers.imported import Converted, Tensor
from posestream.models.importers.onnx_graph import OnnxGraph

__all__ = ["convert_caffe"]

#: Colours of a picture.
_CHANNELS = 3
#: Layers that change nothing when a network is used.
_IDENTITIES = ("Dropout", "Split")
_PLAIN = {"Sigmoid": "Sigmoid", "TanH": "Tanh"}
#: PoolMethod, RoundMode and EltwiseOp as numbers.
_MAX_POOL, _FLOOR = 0, 1
_ELTWISE = ("Mul", "Sum", "Max")


@dataclass(frozen=True, slots=True)
class _Value:
    """What a blob holds at a point of the network."""

    #: Its name in the ONNX graph.
    tensor: str
    channels: int
    #: Input pixels per cell.
    stride: Fraction
    #: Channels of each part, in order, where it was put together last.
    parts: tuple[int, ...]


def convert_caffe(net: CaffeNet, blobs: Mapping[str, tuple[NDArray[np.float32], ...]], path: Path) -> Converted:
    """Write a Caffe network as an ONNX file, and tell its outputs.

    Args:
        net: the layers.
        blobs: their weights; those of layers that the prototxt does not have are passed over, as Caffe does.
        path: the ONNX file.

    Raises:
        ModelError: weights are missing or do not fit, or a layer is of a kind that is not known here.
    """
    return _Converter(net, blobs).write(path)


class _Converter:
    """Walks through the layers; blobs that a layer changes in place get a new tensor."""

    def __init__(self, net: CaffeNet, blobs: Mapping[str, tuple[NDArray[np.float32], ...]]) -> None:
        self._net = net
        self._blobs = blobs
        self._graph = OnnxGraph(net.path.stem)
        self._values = {net.input: _Value(self._graph.name(net.input), _CHANNELS, Fraction(1), ())}
        self._used: set[str] = set()

    def write(self, path: Path) -> Converted:
        """Convert every layer, and write the file with what nobody uses as its outputs."""
        for layer in self._net.layers:
            self._add(layer)
        ends = {blob: value for blob, value in self._values.items() if value.tensor not in self._used}
        for blob, value in ends.items():
            if value.tensor != blob:
                self._graph.rename(value.tensor, blob)
        free = ("batch", "height", "width")
        self._graph.save(
            path,
            {self._net.input: (free[0], _CHANNELS, *free[1:])},
            {blob: (free[0], value.channels, f"{blob}_height", f"{blob}_width") for blob, value in ends.items()},
        )
        return Converted(
            tuple(
                Tensor(blob, value.parts or (value.channels,), self._whole_stride(blob, value))
                for blob, value in ends.items()
            )
        )

    def _whole_stride(self, blob: str, value: _Value) -> int:
        if value.stride.denominator != 1:
            raise ModelError(f"{self._net.path}: {blob} is larger than the picture")
        return int(value.stride)

    def _add(self, layer: CaffeLayer) -> None:
        """Convert one layer."""
        inputs = [self._value(layer, blob) for blob in layer.bottoms]
        if layer.kind == "Silence":
            self._used |= {value.tensor for value in inputs}
            return
        if not inputs or not layer.tops:
            raise self._wrong(layer, "takes or gives nothing")
        if layer.kind in _IDENTITIES:
            self._values |= dict.fromkeys(layer.tops, inputs[0])
            return
        convert = {
            "Convolution": self._convolution,
            "ReLU": self._relu,
            "PReLU": self._prelu,
            "Pooling": self._pooling,
            "Concat": self._concat,
            "Eltwise": self._eltwise,
            **dict.fromkeys(_PLAIN, self._plain),
        }.get(layer.kind)
        if convert is None:
            raise self._wrong(layer, f"is a {layer.kind or 'nameless kind'}, which is not known here")
        self._used |= {value.tensor for value in inputs}
        self._values[layer.tops[0]] = convert(layer, inputs)

    def _value(self, layer: CaffeLayer, blob: str) -> _Value:
        if blob not in self._values:
            raise self._wrong(layer, f"takes {blob!r}, which no layer before it gives")
        return self._values[blob]

    def _wrong(self, layer: CaffeLayer, what: str) -> ModelError:
        return ModelError(f"{self._net.path}: layer {layer.name} {what}")

    def _weights(self, layer: CaffeLayer, count: int) -> tuple[NDArray[np.float32], ...]:
        """Give a layer's blobs, as many as it must have."""
        blobs = self._blobs.get(layer.name, ())
        if len(blobs) != count:
            raise self._wrong(
                layer,
                f"needs {count} blobs of weights, and the caffemodel has {len(blobs) or 'none'}: "
                "it is cut off, or belongs to another prototxt",
            )
        return blobs

    def _vector(self, layer: CaffeLayer, blob: NDArray[np.float32], size: int, what: str) -> NDArray[np.float32]:
        """Give a blob as a vector, whatever ones its shape has beside."""
        if blob.size != size:
            raise self._wrong(layer, f"needs {size} values of {what}, and the caffemodel has {blob.size}")
        return blob.reshape(-1)

    def _convolution(self, layer: CaffeLayer, inputs: list[_Value]) -> _Value:
        given, options = inputs[0], layer.parameters.convolution_param
        kernel = self._pair(layer, options, "kernel", "kernel_size", 0)
        pads = self._pair(layer, options, "pad", "pad", 0)
        strides = self._pair(layer, options, "stride", "stride", 1)
        dilations = tuple(options.dilation)[:1] * 2 if len(options.dilation) < 2 else tuple(options.dilation)
        if options.group < 1:
            raise self._wrong(layer, "has no group")
        self._check_pads(layer, pads, kernel, dilations or (1, 1))
        weights, *bias = self._weights(layer, 1 + options.bias_term)
        expected = (options.num_output, given.channels // options.group, *kernel)
        if weights.shape != expected or given.channels % options.group:
            shapes = ["×".join(map(str, shape)) for shape in (expected, weights.shape)]
            raise self._wrong(layer, f"needs weights of {shapes[0]}, and the caffemodel has {shapes[1]}")
        tensors = [given.tensor, self._graph.weights(f"{layer.name}/weights", weights)]
        if bias:
            vector = self._vector(layer, bias[0], options.num_output, "bias")
            tensors.append(self._graph.weights(f"{layer.name}/bias", vector))
        result = self._graph.node(
            "Conv",
            tensors,
            layer.tops[0],
            kernel_shape=kernel,
            pads=pads * 2,
            strides=strides,
            dilations=dilations or (1, 1),
            group=options.group,
        )
        return _Value(result, options.num_output, given.stride * self._equal(layer, strides), ())

    def _relu(self, layer: CaffeLayer, inputs: list[_Value]) -> _Value:
        slope = layer.parameters.relu_param.negative_slope
        kind, attributes = ("LeakyRelu", {"alpha": slope}) if slope else ("Relu", {})
        return _like(inputs[0], self._graph.node(kind, [inputs[0].tensor], layer.tops[0], **attributes))

    def _prelu(self, layer: CaffeLayer, inputs: list[_Value]) -> _Value:
        size = 1 if layer.parameters.prelu_param.channel_shared else inputs[0].channels
        slopes = self._vector(layer, self._weights(layer, 1)[0], size, "slopes").reshape(size, 1, 1)
        name = self._graph.weights(f"{layer.name}/slopes", slopes)
        return _like(inputs[0], self._graph.node("PRelu", [inputs[0].tensor, name], layer.tops[0]))

    def _plain(self, layer: CaffeLayer, inputs: list[_Value]) -> _Value:
        return _like(inputs[0], self._graph.node(_PLAIN[layer.kind], [inputs[0].tensor], layer.tops[0]))

    def _pooling(self, layer: CaffeLayer, inputs: list[_Value]) -> _Value:
        given, options = inputs[0], layer.parameters.pooling_param
        if options.pool != _MAX_POOL or options.global_pooling:
            raise self._wrong(layer, "pools otherwise than by the maximum of a window, which is not known here")
        kernel = self._pair(layer, options, "kernel", "kernel_size", 0)
        strides = self._pair(layer, options, "stride", "stride", 1)
        pads = self._pair(layer, options, "pad", "pad", 0)
        self._check_pads(layer, pads, kernel, (1, 1))
        result = self._graph.node(
            "MaxPool",
            [given.tensor],
            layer.tops[0],
            kernel_shape=kernel,
            pads=pads * 2,
            strides=strides,
            ceil_mode=int(options.round_mode != _FLOOR),
        )
        return _Value(result, given.channels, given.stride * self._equal(layer, strides), ())

    def _concat(self, layer: CaffeLayer, inputs: list[_Value]) -> _Value:
        options = layer.parameters.concat_param
        axis = options.concat_dim if options.HasField("concat_dim") else options.axis
        if axis not in (1, -3):
            raise self._wrong(layer, f"joins along axis {axis} instead of the channels")
        self._check_strides(layer, inputs)
        result = self._graph.node("Concat", [value.tensor for value in inputs], layer.tops[0], axis=1)
        parts = tuple(value.channels for value in inputs)
        return _Value(result, sum(parts), inputs[0].stride, parts)

    def _eltwise(self, layer: CaffeLayer, inputs: list[_Value]) -> _Value:
        options = layer.parameters.eltwise_param
        if any(factor != 1 for factor in options.coeff) or len({value.channels for value in inputs}) != 1:
            raise self._wrong(layer, "weighs what it adds, or adds what has other channels, which is not known here")
        self._check_strides(layer, inputs)
        names = [value.tensor for value in inputs]
        kind = _ELTWISE[options.operation]
        if kind == "Mul" and len(names) != 2:
            raise self._wrong(layer, f"multiplies {len(names)} blobs instead of two")
        return _like(inputs[0], self._graph.node(kind, names, layer.tops[0]))

    def _check_pads(
        self, layer: CaffeLayer, pads: tuple[int, ...], kernel: tuple[int, ...], dilations: tuple[int, ...]
    ) -> None:
        """Raise ModelError where a window would lie wholly beside the picture."""
        if any(pad > step * (size - 1) for pad, size, step in zip(pads, kernel, dilations, strict=True)):
            raise self._wrong(layer, f"pads by {max(pads)}, which is more than its window of {max(kernel)} needs")

    def _check_strides(self, layer: CaffeLayer, inputs: list[_Value]) -> None:
        if len({value.stride for value in inputs}) != 1:
            raise self._wrong(layer, "joins maps of different sizes")

    def _equal(self, layer: CaffeLayer, strides: tuple[int, ...]) -> int:
        if len(set(strides)) != 1:
            raise self._wrong(layer, "has different strides across and down")
        return strides[0]

    def _pair(self, layer: CaffeLayer, options: Any, prefix: str, name: str, default: int) -> tuple[int, int]:
        """Give a size for height and width, in whichever of its three forms it is written; 0 only for pads."""
        if options.HasField(f"{prefix}_h") or options.HasField(f"{prefix}_w"):
            pair = (getattr(options, f"{prefix}_h"), getattr(options, f"{prefix}_w"))
        else:
            value = getattr(options, name)
            values = (value,) if isinstance(value, int) else tuple(value) or (default,)
            pair = (values[0], values[-1])
        if prefix != "pad" and math.prod(pair) < 1:
            raise self._wrong(layer, f"has no {name}")
        return pair


def _like(given: _Value, tensor: str) -> _Value:
    """Give a value of the same sizes as another one."""
    return _Value(tensor, given.channels, given.stride, given.parts)
