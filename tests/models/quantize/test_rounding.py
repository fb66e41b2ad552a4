"""What makes a network fit for int8, and what finds the layers that are not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from posestream.models.engines.operations import sources
from posestream.models.engines.runtime import load_openvino
from posestream.models.errors import ModelError
from posestream.models.quantize import tool
from posestream.models.quantize.equalize import equalized
from posestream.models.quantize.network import FloatNetwork, convolutions, is_rounded, outputs_of
from posestream.models.quantize.sensitivity import harm_of_layers
from posestream.models.quantize.tool import round_network
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore

from ... import painted  # noqa: TID252 - tests are no package that could be named


@pytest.fixture
def inputs() -> list[np.ndarray]:
    """Pictures as the network takes them."""
    rng = np.random.default_rng(3)
    return [rng.uniform(-0.5, 0.5, (1, 3, 64, width)).astype(np.float32) for width in (64, 64, 80)]


@pytest.fixture
def network(tmp_path) -> FloatNetwork:
    """A network whose channels span 300 times."""
    painted.install_painted(tmp_path, span=300.0)
    store = WeightStore((), tmp_path)
    spec = load_registry((tmp_path,))["painted"]
    return FloatNetwork.read(spec, store.locate(spec))


def test_the_network_takes_what_the_engine_would_give_it(network: FloatNetwork) -> None:
    """A uint8 picture becomes what OpenVINO's preprocessing makes of it: scaled, shifted, channels first."""
    image = np.random.default_rng(0).integers(0, 256, (64, 72, 3), np.uint8)

    taken = network.taken(image)

    assert taken.dtype == np.float32
    assert taken.flags.c_contiguous
    np.testing.assert_allclose(taken[0], image.transpose(2, 0, 1) / 256 - 0.5, atol=1e-7)


def test_equalising_changes_nothing_that_comes_out(network: FloatNetwork, inputs: list[np.ndarray]) -> None:
    """The network computes the same, and the depthwise convolution's channels are alike in size where they were not."""
    changed = equalized(network.model, inputs)

    for (before,), (after,) in zip(outputs_of(network.model, inputs), outputs_of(changed, inputs), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)
    assert _span(network.model, inputs) > 100
    assert _span(changed, inputs) < 30


def test_a_network_without_depthwise_convolutions_stays_as_it_is(inputs: list[np.ndarray]) -> None:
    """Where nothing can be made alike, nothing is run and nothing is changed."""
    ops = load_openvino().opset13
    image = ops.parameter([1, 3, -1, -1], np.float32)
    kernel = ops.constant(np.ones((4, 3, 1, 1), np.float32))
    model = load_openvino().Model([ops.convolution(image, kernel, [1, 1], [0, 0], [0, 0], [1, 1])], [image], "plain")

    (weights,) = (sources(op)[1].data for op in convolutions(equalized(model, inputs)))

    np.testing.assert_array_equal(weights, kernel.data)


def test_the_layer_that_suffers_most_comes_first(network: FloatNetwork, inputs: list[np.ndarray]) -> None:
    """Of a network with one step for channels that span 300 times, the convolution that takes those is found."""
    pytest.importorskip("nncf")
    rounded = round_network(network.model, inputs, is_corrected=False)

    harms = harm_of_layers(network, network.model, rounded, inputs)

    assert len(harms) == len(convolutions(network.model)) == 4
    assert harms[0].layer == convolutions(network.model)[-1].get_friendly_name()
    assert harms[0].noise > 3 * harms[1].noise
    assert [harm.noise for harm in harms] == sorted((harm.noise for harm in harms), reverse=True)


def test_layers_that_are_left_out_stay_in_float(network: FloatNetwork, inputs: list[np.ndarray]) -> None:
    """Where every layer is left out the result computes what the float network computes, bit for bit."""
    pytest.importorskip("nncf")
    names = [op.get_friendly_name() for op in convolutions(network.model)]

    assert is_rounded(round_network(network.model, inputs))
    same = round_network(network.model, inputs, names)

    assert not is_rounded(same)
    for (before,), (after,) in zip(outputs_of(network.model, inputs), outputs_of(same, inputs), strict=True):
        np.testing.assert_array_equal(after, before)


def test_nncf_is_loaded_without_its_telemetry() -> None:
    """Nothing that could send usage data is imported, and NNCF's own stand-in takes the place of what would."""
    pytest.importorskip("nncf")
    program = (
        "import sys; from posestream.models.quantize.tool import load_nncf; load_nncf(); "
        "import nncf.telemetry.wrapper as wrapper; "
        "print('openvino_telemetry' in sys.modules, type(wrapper.telemetry).__name__)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603

    assert done.stdout.split() == ["False", "MagicMock"]


def test_without_nncf_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NNCF is not installed the error says what to install."""
    monkeypatch.setitem(sys.modules, "nncf", None)

    with pytest.raises(ModelError, match=r"pip install 'posestream\[quantize\]'"):
        tool.load_nncf()


def _span(model, inputs) -> float:
    """Give how many times as large the largest channel behind the depthwise convolution is as the smallest used one."""
    looked = model.clone()
    (depthwise,) = (op for op in convolutions(looked) if op.get_type_name() == "GroupConvolution")
    looked.add_outputs([depthwise.output(0)])
    most = np.max([np.abs(values).max(axis=(0, 2, 3)) for _, values in outputs_of(looked, inputs)], axis=0)
    most = most[: painted.CHANNELS]
    return float(most.max() / most[most > 0].min())
