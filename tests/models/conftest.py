"""Tiny networks made on the spot, so that the engines' tests need no download."""

from __future__ import annotations

import dataclasses
import select
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posestream.models.engines.base import Completed, Engine
from posestream.models.engines.runtime import load_openvino
from posestream.models.registry import load_registry
from posestream.models.spec import Access, InputSpec, NetworkSpec, OutputSpec, TensorLayout
from posestream.models.weights import Weights

#: Nothing here takes longer; a test that waits so long has lost a wake-up.
DEADLINE_S = 60.0
CHANNELS = 57


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A network of one 8×8 convolution with stride 8, and what it computes."""

    spec: NetworkSpec
    weights: Weights
    kernel: np.ndarray

    def expected(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute heatmaps and PAFs in NumPy."""
        value = image.astype(np.float64) * self.spec.input.scale + self.spec.input.shift
        height, width = image.shape[0] // 8, image.shape[1] // 8
        blocks = value.reshape(height, 8, width, 8, 3)
        maps = np.einsum("yixjc,ocij->oyx", blocks, self.kernel)
        heatmaps, pafs = self.spec.heatmaps, self.spec.pafs
        offset = 19 if heatmaps.tensor != pafs.tensor else 0  # two tensors: heatmaps first in the kernel
        return maps[:19], maps[offset + pafs.first : offset + pafs.first + 38]


def tiny_spec(layout: TensorLayout, tensors: tuple[str, str], suffix: str, **inputs: float) -> NetworkSpec:
    """Describe a tiny network; its tensors are heatmaps' and PAFs'."""
    first = 19 if tensors[0] == tensors[1] else 0
    return dataclasses.replace(
        load_registry()["mobilenet-thin"],
        name="tiny",
        access=Access.URL,
        files=(dataclasses.replace(load_registry()["mobilenet-thin"].files[0], name=f"tiny{suffix}"),),
        input=InputSpec(layout, **inputs),
        heatmaps=OutputSpec(tensors[0], layout, 0, 19),
        pafs=OutputSpec(tensors[1], layout, first, 38),
    )


def tiny_kernel() -> np.ndarray:
    """Make the convolution: heatmaps first, then PAFs."""
    return np.random.default_rng(7).normal(0.0, 0.001, (CHANNELS, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def tiny_two(tmp_path: Path) -> Tiny:
    """An IR as Open Model Zoo's: NCHW, PAFs and heatmaps apart."""
    openvino = load_openvino()
    ops, kernel = openvino.opset13, tiny_kernel()
    image = ops.parameter([1, 3, 64, 64], np.float32, name="data")
    results = []
    for name, part in (("fields", kernel[19:]), ("heat", kernel[:19])):
        maps = ops.convolution(image, ops.constant(part), [8, 8], [0, 0], [0, 0], [1, 1])
        maps.output(0).set_names({name})
        results.append(ops.result(maps))
    path = tmp_path / "tiny.xml"
    openvino.save_model(openvino.Model(results, [image], "tiny"), path, compress_to_fp16=False)
    spec = tiny_spec(TensorLayout.NCHW, ("heat", "fields"), ".xml")
    return Tiny(spec, Weights(spec, (path, path.with_suffix(".bin"))), kernel)


@pytest.fixture
def tiny_one(tmp_path: Path) -> Tiny:
    """An IR as TensorFlow's: NHWC, heatmaps and PAFs in one tensor, any size, and inputs scaled as OpenPose's."""
    openvino = load_openvino()
    ops, kernel = openvino.opset13, tiny_kernel()
    image = ops.parameter([1, -1, -1, 3], np.float32, name="image")
    planes = ops.transpose(image, ops.constant([0, 3, 1, 2]))
    maps = ops.convolution(planes, ops.constant(kernel), [8, 8], [0, 0], [0, 0], [1, 1])
    maps = ops.transpose(maps, ops.constant([0, 2, 3, 1]))
    maps.output(0).set_names({"maps:0"})
    path = tmp_path / "tiny.xml"
    openvino.save_model(openvino.Model([ops.result(maps)], [image], "tiny"), path, compress_to_fp16=False)
    spec = tiny_spec(TensorLayout.NHWC, ("maps", "maps"), ".xml", scale=1 / 256, shift=-0.5)
    return Tiny(spec, Weights(spec, (path, path.with_suffix(".bin"))), kernel)


@pytest.fixture
def tiny_onnx(tmp_path: Path) -> Tiny:
    """The same as an ONNX file, which OpenCV reads too."""
    kernel = tiny_kernel()
    path = tmp_path / "tiny.onnx"
    path.write_bytes(_onnx_convolution(kernel))
    spec = tiny_spec(TensorLayout.NCHW, ("maps", "maps"), ".onnx", scale=1 / 256, shift=-0.5)
    return Tiny(spec, Weights(spec, (path,)), kernel)


@pytest.fixture
def picture() -> Callable[[int, int], np.ndarray]:
    """Make a read-only noise picture of a height and width, as the items hold them."""

    def make(height: int, width: int) -> np.ndarray:
        image = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)
        image.flags.writeable = False
        return image

    return make


@pytest.fixture
def wait() -> Callable[[Engine], list[Completed]]:
    """Wait on an engine's descriptor and take what is done."""

    def take(engine: Engine) -> list[Completed]:
        readable, _, _ = select.select([engine.fileno()], [], [], DEADLINE_S)
        assert readable, f"nothing came from {engine!r}"
        return engine.completed()

    return take


def _onnx_convolution(kernel: np.ndarray) -> bytes:
    """Write an ONNX file of one convolution, as far as needed (onnx.proto's field numbers)."""
    attributes = b"".join(
        _field(5, _field(1, name.encode()) + _number(20, 7) + b"".join(_number(8, v) for v in values))
        for name, values in (("kernel_shape", (8, 8)), ("strides", (8, 8)), ("pads", (0, 0, 0, 0)))
    )
    node = _field(1, b"image") + _field(1, b"kernel") + _field(2, b"maps") + _field(3, b"conv") + _field(4, b"Conv")
    dims = b"".join(_number(1, size) for size in kernel.shape)
    weights = dims + _number(2, 1) + _field(8, b"kernel") + _field(9, kernel.astype("<f4").tobytes())
    graph = _field(1, node + attributes) + _field(2, b"tiny") + _field(5, weights)
    graph += _field(11, _onnx_tensor(b"image", 3)) + _field(12, _onnx_tensor(b"maps", CHANNELS))
    return _number(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, 13))


def _onnx_tensor(name: bytes, channels: int) -> bytes:
    sizes = [_number(1, 1), _number(1, channels), _field(2, b"h"), _field(2, b"w")]
    shape = b"".join(_field(1, size) for size in sizes)
    return _field(1, name) + _field(2, _field(1, _number(1, 1) + _field(2, shape)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
