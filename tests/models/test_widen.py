"""Joined channels become a round number, and the network computes what it did."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posestream.models.engines.graph import read_graph
from posestream.models.engines.operations import constant, sources
from posestream.models.engines.runtime import load_core, load_openvino
from posestream.models.engines.widen import widened
from posestream.models.weights import Weights


@pytest.fixture
def joined() -> Any:
    """Give a network in which two depthwise convolutions take 16 + 5 joined channels."""
    ops, rng = load_openvino().opset13, np.random.default_rng(2)

    def numbers(*shape: int) -> Any:
        return ops.constant(rng.normal(size=shape).astype(np.float16).astype(np.float32))

    def plain(values: Any, kernel: Any) -> Any:
        return ops.convolution(values, kernel, [1, 1], [0, 0], [0, 0], [1, 1])

    image = ops.parameter([1, 3, -1, -1], np.float32)
    narrow = ops.add(plain(image, numbers(5, 3, 1, 1)), numbers(1, 5, 1, 1))
    both = ops.concat([ops.relu(plain(image, numbers(16, 3, 1, 1))), narrow], 1)
    ends = []
    for name, channels in (("pafs", 38), ("heatmaps", 19)):
        depthwise = ops.group_convolution(both, numbers(21, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
        end = plain(depthwise, numbers(channels, 21, 1, 1))
        end.output(0).set_names({name})
        ends.append(ops.result(end))
    return load_openvino().Model(ends, [image], "joined")


def widths(model: Any) -> list[int]:
    """Count the channels that each depthwise convolution takes."""
    depthwise = [op for op in model.get_ordered_ops() if op.get_type_name() == "GroupConvolution"]
    return [op.input_value(0).get_partial_shape()[1].get_length() for op in depthwise]


def results(model: Any) -> list[np.ndarray]:
    """Run a network on random numbers, in float32."""
    compiled = load_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    values = np.random.default_rng(0).normal(size=(1, 3, 24, 32)).astype(np.float32)
    return [np.array(result) for result in compiled([values]).values()]


def test_joined_channels_become_a_round_number(joined: Any) -> None:
    """The depthwise convolutions take 32 channels where 21 were joined, and the network computes the same."""
    changed = widened(joined)

    assert widths(joined) == [21, 21]
    assert widths(changed) == [32, 32]
    for before, after in zip(results(joined), results(changed), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-4)


def test_what_is_joined_is_left_as_it_is_where_others_take_it_too(joined: Any) -> None:
    """A network that gives the joined channels away as an output of its own keeps all of them, and no more."""
    (both,) = [op for op in joined.get_ordered_ops() if op.get_type_name() == "Concat"]
    joined.add_results([load_openvino().opset13.result(both)])

    assert widths(widened(joined)) == [21, 21]


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_network_is_widened_when_it_is_read(joined: Any, is_compressed: bool, tiny_two: Any, tmp_path: Path) -> None:
    """Also one whose numbers are kept in float16, as OpenVINO's files mostly are."""
    path = tmp_path / "joined.xml"
    load_openvino().save_model(joined, path, compress_to_fp16=is_compressed)
    spec = dataclasses.replace(
        tiny_two.spec,
        heatmaps=dataclasses.replace(tiny_two.spec.heatmaps, tensor="heatmaps"),
        pafs=dataclasses.replace(tiny_two.spec.pafs, tensor="pafs"),
    )

    graph = read_graph(load_core(), spec, Weights(spec, (path, path.with_suffix(".bin"))))

    assert widths(graph.model) == [32, 32]
    for before, after in zip(results(joined), results(graph.model), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-4)


def test_only_constants_have_numbers(joined: Any) -> None:
    """What an operation computes of the picture is no constant; weights are, in float32."""
    (join,) = [op for op in joined.get_ordered_ops() if op.get_type_name() == "Concat"]
    (user, _) = [target.get_node() for target in join.output(0).get_target_inputs()]

    numbers = constant(sources(user)[1])

    assert constant(join) is None
    assert numbers is not None
    assert (numbers.shape, numbers.dtype) == ((21, 1, 1, 3, 3), np.float32)
