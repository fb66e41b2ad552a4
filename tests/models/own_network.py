"""ONNX files as people bring them: one convolution of stride 8 and 57 channels, with whatever is odd about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CHANNELS", "SPEC", "write_own"]

CHANNELS = 57
#: A spec file for it.
SPEC = """
layout_name = "openpose-18"
licence = "Apache-2.0"
stride = 8
input = {{ layout = "{taken}", scale = {scale}, shift = {shift} }}
heatmaps = {{ tensor = "{output}", layout = "{given}", first = 0, count = 19 }}
pafs = {{ tensor = "{output}", layout = "{given}", first = 19, count = 38 }}
"""


def write_own(  # noqa: PLR0913 - each is one thing that may be odd
    path: Path,
    *,
    opset: int = 17,
    picture: str = "x",
    between: str = "planes",
    output: str = "maps",
    node: str = "convolution",
    dtype: type = np.float32,
    input_dtype: type | None = None,
    is_nhwc_in: bool = False,
    is_nhwc_out: bool = False,
) -> np.ndarray:
    """Write a network and its spec file beside it (`.toml`); give its kernel, heatmaps first.

    It takes value/256 − 0.5, or 0…255 where its input is of whole numbers.
    """
    import onnx  # noqa: PLC0415 - an extra, which the tests ask for before

    helper = onnx.helper

    def types(numbers: type) -> int:
        return int(helper.np_dtype_to_tensor_dtype(np.dtype(numbers)))

    kernel = np.random.default_rng(7).normal(0.0, 0.01, (CHANNELS, 3, 8, 8)).astype(np.float32)
    nodes, tensor = [], picture
    if input_dtype is not None:
        nodes.append(helper.make_node("Cast", [tensor], ["numbers"], to=types(dtype)))
        tensor = "numbers"
    kind, attributes = ("Transpose", {"perm": [0, 3, 1, 2]}) if is_nhwc_in else ("Identity", {})
    nodes.append(helper.make_node(kind, [tensor], [between], **attributes))
    result = "nchw" if is_nhwc_out else output
    nodes.append(helper.make_node("Conv", [between, "kernel"], [result], name=node, strides=[8, 8]))
    if is_nhwc_out:
        nodes.append(helper.make_node("Transpose", [result], [output], perm=[0, 2, 3, 1]))
    sizes: list[Any] = ["b", "h", "w", 3] if is_nhwc_in else ["b", 3, "h", "w"]
    maps = ["b", None, None, CHANNELS] if is_nhwc_out else ["b", CHANNELS, None, None]
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info(picture, types(input_dtype or dtype), sizes)],
        [helper.make_tensor_value_info(output, types(dtype), maps)],
        [onnx.numpy_helper.from_array(kernel.astype(dtype), "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    is_whole = input_dtype is not None
    told = SPEC.format(
        output=output,
        taken="nhwc" if is_nhwc_in else "nchw",
        given="nhwc" if is_nhwc_out else "nchw",
        scale=1 if is_whole else 1 / 256,
        shift=0 if is_whole else -0.5,
    )
    path.with_suffix(".toml").write_text(told, "utf-8")
    return kernel
