"""Reads Caffe's two files: the prototxt that tells a network's layers, and the caffemodel that holds their weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.errors import ModelError
from posestream.models.importers.caffe_schema import message_class
from posestream.models.importers.extra import load_protobuf

__all__ = ["CaffeLayer", "CaffeNet", "read_blobs", "read_prototxt"]

#: What a file begins with that Caffe wrote as HDF5.
_HDF5 = b"\x89HDF"
#: The first format's layer types under their later names; the others cannot be in these networks.
_V1_KINDS = {
    "CONCAT": "Concat",
    "CONVOLUTION": "Convolution",
    "DROPOUT": "Dropout",
    "ELTWISE": "Eltwise",
    "POOLING": "Pooling",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SILENCE": "Silence",
    "SPLIT": "Split",
    "TANH": "TanH",
}
#: NetStateRule's number of the phase in which networks are used.
_TEST = 1

Blob = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CaffeLayer:
    """One layer of a network: what it does, and the blobs that it takes and gives."""

    name: str
    kind: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    #: The message of the layer, for the parameters of its kind.
    parameters: Any


@dataclass(frozen=True, slots=True)
class CaffeNet:
    """A network as its prototxt tells it, in the order of its layers."""

    path: Path
    input: str
    layers: tuple[CaffeLayer, ...]


def read_prototxt(path: Path) -> CaffeNet:
    """Read a network's layers; the `layer` and the older `layers` form are both understood.

    Raises:
        ModelError: it cannot be read, is no prototxt, has a layer twice, or has not one input and some layers.
    """
    text_format = load_protobuf("text_format")
    message = message_class("NetParameter")()
    try:
        text_format.Parse(_read(path).decode("utf-8-sig"), message, allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is no prototxt: {error}") from error
    layers = [layer for layer in _layers(path, message) if _is_used(layer.parameters)]
    inputs = [*message.input, *(top for layer in layers if layer.kind == "Input" for top in layer.tops)]
    layers = [layer for layer in layers if layer.kind != "Input"]
    names = Counter(layer.name for layer in layers if layer.name)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ModelError(f"{path}: layer {twice[0]} is there more than once, and its weights only once")
    if len(inputs) != 1 or not layers:
        raise ModelError(f"{path}: a network has one input and some layers, not {len(inputs)} and {len(layers)}")
    return CaffeNet(path, inputs[0], tuple(layers))


def read_blobs(path: Path) -> Mapping[str, tuple[Blob, ...]]:
    """Read the weights of each layer that has some, by the layer's name.

    Raises:
        ModelError: the file cannot be read, is cut off, is none of Caffe's, or a blob contradicts its shape.
    """
    content = _read(path)
    if content.startswith(_HDF5):
        raise ModelError(
            f"{path} was written by Caffe as HDF5: this reads the binary form (snapshot_format: BINARYPROTO)"
        )
    message = message_class("NetParameter")()
    try:
        message.ParseFromString(content)
    except load_protobuf("message").DecodeError as error:
        raise ModelError(f"{path} is cut off, or no caffemodel: get it again") from error
    layers = _layers(path, message)
    blobs = {
        layer.name: tuple(_blob(path, layer.name, blob) for blob in layer.parameters.blobs)
        for layer in layers
        if layer.parameters.blobs
    }
    if not blobs:
        raise ModelError(f"{path} has no weights: it is cut off, or no caffemodel")
    return blobs


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def _layers(path: Path, message: Any) -> list[CaffeLayer]:
    """Give the layers of either form."""
    if any(layer.HasField("layer") for layer in message.layers):
        raise ModelError(
            f"{path} is of Caffe's first version (V0): bring it up to date with Caffe's upgrade_net_proto tools"
        )
    names = message_class("V1LayerParameter").DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number
    old = [(layer, names[layer.type].name) for layer in message.layers]
    return [
        CaffeLayer(layer.name, _V1_KINDS.get(kind, kind), tuple(layer.bottom), tuple(layer.top), layer)
        for layer, kind in [*old, *((layer, layer.type) for layer in message.layer)]
    ]


def _is_used(layer: Any) -> bool:
    """Tell whether a layer belongs to the network as it is used, not only as it is trained."""
    included = [rule.phase for rule in layer.include if rule.HasField("phase")]
    excluded = [rule.phase for rule in layer.exclude if rule.HasField("phase")]
    return (not included or _TEST in included) and _TEST not in excluded


def _blob(path: Path, layer: str, blob: Any) -> Blob:
    """Give a blob as an array of its own shape, or of the older form's four sizes."""
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    data, dtype = (blob.data, "<f4") if blob.data else (blob.double_data, "<f8")
    raw = data[0] if len(data) == 1 else b"".join(data)
    if len(raw) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ModelError(
            f"{path}: layer {layer} has {len(raw)} bytes of weights for a shape of {'×'.join(map(str, shape))}: "
            "it is damaged"
        )
    return np.frombuffer(raw, dtype).astype(np.float32, copy=False).reshape(shape)
