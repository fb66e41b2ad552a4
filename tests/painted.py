"""A float network that reads its field maps out of the picture, so that what it sees is what was painted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from posestream.models.engines.runtime import load_openvino
from posestream.models.importers.record import Origin, Record, install
from posestream.models.layout import LAYOUTS
from posestream.models.spec import InputSpec, NetworkSpec, OutputSpec, TensorLayout
from posestream.stages.group.synthetic import planted_maps, random_people

LAYOUT = LAYOUTS["openpose-18"]
CHANNELS = LAYOUT.heatmap_count + LAYOUT.paf_count
#: Input pixels per cell; a block of so many squared, of three colours, has room for all channels.
STRIDE = 8
#: A map's 1 in the picture's values, and its 0.
_ONE, _ZERO = 100.0, 128.0


def paint(path: Path, seed: int, people: int = 2, size_map: tuple[int, int] = (32, 40)) -> Path:
    """Write a picture in which people are planted, each in a pose of their own."""
    where = random_people(LAYOUT, np.random.default_rng(seed), people, size_map, (18.0, 26.0))
    maps = np.concatenate(planted_maps(LAYOUT, where, size_map))
    blocks = np.full((*size_map, STRIDE * STRIDE * 3), _ZERO)
    blocks[..., :CHANNELS] = _ZERO + _ONE * maps.transpose(1, 2, 0)
    image = blocks.reshape(*size_map, STRIDE, STRIDE, 3).transpose(0, 2, 1, 3, 4)
    image = image.reshape(size_map[0] * STRIDE, size_map[1] * STRIDE, 3)
    assert cv2.imwrite(str(path), np.clip(np.rint(image), 0, 255).astype(np.uint8))
    return path


def install_painted(folder: Path, name: str = "painted", span: float = 1.0, hidden: int = 128) -> NetworkSpec:
    """Put a network that reads such pictures into a folder of networks.

    Args:
        folder: the folder.
        name: what it is to be called.
        span: how many times as large the largest channel behind its depthwise convolution is as the smallest.
        hidden: channels of its middle.
    """

    def make(path: Path) -> Record:
        openvino = load_openvino()
        openvino.save_model(painted_model(span, hidden), path, compress_to_fp16=False)
        return Record(
            name,
            LAYOUT.name,
            Origin("reads what was painted", "Apache-2.0"),
            "nothing",
            InputSpec(TensorLayout.NCHW, 1 / 256, -0.5, STRIDE),
            OutputSpec("maps", TensorLayout.NCHW, 0, LAYOUT.heatmap_count),
            OutputSpec("maps", TensorLayout.NCHW, LAYOUT.heatmap_count, LAYOUT.paf_count),
            STRIDE,
        )

    return install(name, make, folder, suffix=".xml")


def painted_model(span: float = 1.0, hidden: int = 128) -> Any:
    """Give the network: blocks to channels, a middle that leaves them alone, and channels to maps."""
    openvino = load_openvino()
    ops = openvino.opset13
    rng = np.random.default_rng(1)
    image = ops.parameter([1, 3, -1, -1], np.float32, name="image")
    # What the pipeline makes of `_ZERO` and `_ONE`; the shift by one keeps all channels above zero, where ReLU is.
    values = _convolution(ops, image, _reading(hidden) * 256 / _ONE, np.ones(hidden), STRIDE)
    values = ops.relu(values)
    middle = rng.normal(0.0, 0.01, (hidden, hidden, 3, 3))
    middle[:CHANNELS] = 0.0
    middle[range(CHANNELS), range(CHANNELS), 1, 1] = 1.0
    values = ops.relu(_convolution(ops, values, middle, np.zeros(hidden), 1, 1))
    gains = np.geomspace(1.0, span, hidden)[rng.permutation(hidden)]
    depthwise = np.zeros((hidden, 1, 1, 3, 3), np.float32)
    depthwise[:, 0, 0, 1, 1] = gains
    values = ops.group_convolution(values, ops.constant(depthwise), [1, 1], [1, 1], [1, 1], [1, 1])
    last = np.zeros((CHANNELS, hidden, 1, 1))
    last[range(CHANNELS), range(CHANNELS), 0, 0] = 1 / gains[:CHANNELS]
    maps = _convolution(ops, values, last, -np.ones(CHANNELS), 1)
    maps.output(0).set_names({"maps"})
    return openvino.Model([ops.result(maps)], [image], "painted")


def _reading(hidden: int) -> np.ndarray:
    """Give the kernel that takes channel c out of the c-th value of a block."""
    kernel = np.zeros((hidden, STRIDE * STRIDE * 3))
    kernel[range(CHANNELS), range(CHANNELS)] = 1.0
    return kernel.reshape(hidden, STRIDE, STRIDE, 3).transpose(0, 3, 1, 2)


def _convolution(ops: Any, values: Any, kernel: np.ndarray, bias: Sequence[float], stride: int, pad: int = 0) -> Any:
    weights = ops.constant(kernel.astype(np.float32))
    result = ops.convolution(values, weights, [stride] * 2, [pad] * 2, [pad] * 2, [1, 1])
    return ops.add(result, ops.constant(np.asarray(bias, np.float32).reshape(1, -1, 1, 1)))
