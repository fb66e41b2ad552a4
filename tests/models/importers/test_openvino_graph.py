from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from posestream.models.engines.runtime import load_core, load_openvino
from posestream.models.errors import ModelError
from posestream.models.importers import Wanted, import_caffe, import_graph
from posestream.models.importers.openvino_graph import convert_openvino
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore

from .architectures import two_branches, write

SHARED = Path(__file__).parents[4] / "shared"


def compute(paths, image_nchw, is_nhwc=False):
    """Run a network on the processor in float32; give its outputs by name, NCHW."""
    core = load_core()
    model = core.read_model(*paths)
    model.reshape([1, *image_nchw.shape[2:], 3] if is_nhwc else list(image_nchw.shape))
    image = np.ascontiguousarray(image_nchw.transpose(0, 2, 3, 1)) if is_nhwc else image_nchw
    network = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = network({0: image})
    return {
        port.get_any_name().removesuffix(":0"): results[port].transpose(0, 3, 1, 2) if is_nhwc else results[port]
        for port in network.outputs
    }


def picture(height, width):
    """Give a photograph, or blots where none is at hand, as a float picture of 0…255; noise would be no picture."""
    path = SHARED / "eval" / "dev" / "images" / "000000340451.jpg"
    image = cv2.imread(str(path)) if path.exists() else None
    if image is None:
        image = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    scaled = cv2.resize(image, (width, height)).astype(np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def find(name):
    """Give a network's files, or skip."""
    store = WeightStore.from_environment()
    store._folders += (SHARED / "models",)
    weights = store.locate(load_registry()[name])
    if weights is None:
        pytest.skip(f"{name} is not here: posestream models fetch {name}")
    return weights


@pytest.fixture
def same_pads(tmp_path):
    """A network as TensorFlow's: NHWC, strides whose pads depend on the size, depthwise, and joined outputs."""
    openvino = load_openvino()
    ops, random = openvino.opset13, np.random.default_rng(5)

    def conv(source, shape, stride):
        kernel = ops.constant(random.normal(0, 0.2, shape).astype(np.float32))
        bias = ops.constant(random.normal(0, 0.1, (1, shape[0], 1, 1)).astype(np.float32))
        return ops.add(ops.convolution(source, kernel, [stride] * 2, [0, 0], [0, 0], [1, 1], "same_upper"), bias)

    image = ops.parameter([-1, -1, -1, 3], np.float32, name="image")
    blob = ops.transpose(image, ops.constant([0, 3, 1, 2]))
    blob = ops.relu(conv(blob, (8, 3, 3, 3), 2))
    depthwise = ops.constant(random.normal(0, 0.3, (8, 1, 1, 3, 3)).astype(np.float32))
    blob = ops.elu(ops.group_convolution(blob, depthwise, [2, 2], [0, 0], [0, 0], [1, 1], "same_upper"), 1.0)
    blob = ops.max_pool(blob, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], "floor", "same_upper").output(0)
    heatmaps, pafs = ops.sigmoid(conv(blob, (16, 8, 3, 3), 1)), ops.tanh(conv(blob, (28, 8, 1, 1), 1))
    maps = ops.transpose(ops.concat([pafs, heatmaps], 1), ops.constant([0, 2, 3, 1]))
    maps.output(0).set_names({"maps:0"})
    path = tmp_path / "same.xml"
    openvino.save_model(openvino.Model([ops.result(maps)], [image], "same"), path, compress_to_fp16=False)
    return path, path.with_suffix(".bin")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 88), (8, 16)])
def test_derived_pads_become_explicit(same_pads, tmp_path, height, width):
    """A network whose pads come from its size gives the same numbers as ONNX with pads of its own, at any size."""
    converted = convert_openvino(same_pads, tmp_path / "same.onnx")
    assert [(t.name, t.parts, t.stride) for t in converted.tensors] == [("maps", (28, 16), 8)]
    image = picture(height, width)
    (expected,) = compute(same_pads, image, is_nhwc=True).values()
    (got,) = compute((tmp_path / "same.onnx",), image).values()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_pads_that_differ_by_size_are_refused(same_pads, tmp_path):
    """A network whose pads are not the same at all of its sizes is refused in one line."""
    with pytest.raises(ModelError, match="pads otherwise at other sizes"):
        convert_openvino(same_pads, tmp_path / "same.onnx", multiple=1)


def test_graph_is_imported_with_its_record(same_pads, tmp_path):
    """An IR becomes a network of the registry whose record says where its maps are."""
    spec = import_graph(Wanted("mine", "openpose-15", folder=tmp_path / "models"), same_pads)
    assert (spec.pafs.first, spec.heatmaps.first, spec.stride, spec.input.scale) == (0, 28, 8, 1.0)
    assert load_registry([tmp_path / "models"])["mine"] == spec


@pytest.mark.parametrize("is_compressed", [False, True])
def test_graph_that_openvino_saved_of_onnx_is_converted(tmp_path, is_compressed):
    """An IR saved of an ONNX file, whose biases are brought to shape by operations, gives its numbers as ONNX again."""
    import_caffe(
        Wanted("made", "openpose-15", folder=tmp_path / "models"), *write(two_branches(1, 16, 28, 32), tmp_path)
    )
    path = tmp_path / "saved.xml"
    read = load_core().read_model(tmp_path / "models" / "made" / "made.onnx")
    load_openvino().save_model(read, path, compress_to_fp16=is_compressed)
    convert_openvino((path, path.with_suffix(".bin")), tmp_path / "again.onnx")
    image = picture(64, 88) / 256 - 0.5
    (expected,) = compute((path,), image).values()
    (got,) = compute((tmp_path / "again.onnx",), image).values()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_sizes_of_the_picture_are_no_constants(tmp_path):
    """A network that computes with its picture's size is refused by the operation's name."""
    openvino = load_openvino()
    ops = openvino.opset13
    image = ops.parameter([1, 3, -1, -1], np.float32, name="image")
    sizes = ops.convert(ops.shape_of(image), "f32")
    maps = ops.convolution(image, ops.constant(np.ones((44, 3, 8, 8), np.float32)), [8, 8], [0, 0], [0, 0], [1, 1])
    maps = ops.add(maps, ops.reduce_sum(sizes, ops.constant([0]), True))
    path = tmp_path / "sized.xml"
    openvino.save_model(openvino.Model([ops.result(maps)], [image], "sized"), path, compress_to_fp16=False)
    with pytest.raises(ModelError, match=r"(ShapeOf|ReduceSum|Convert), which cannot be converted") as caught:
        convert_openvino((path, path.with_suffix(".bin")), tmp_path / "sized.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nothing of the kind", "it is damaged, or no frozen graph"),
        (b"", "it is empty"),
        (b"\x0a\x05abcde" * 3 + b"\x22\x02\x08", "it is cut off"),
        (b"\x0a\x05abcde\x0a", "it is damaged, or no frozen graph"),
        (b"\x0a" + b"\xff" * 20, "it is damaged, or no frozen graph"),
    ],
    ids=["other", "empty", "cut", "cut in a number", "no number"],
)
def test_damaged_graph_is_one_line(tmp_path, capfd, content, said):
    """A file that is no network, or a part of one, is refused in one line, and OpenVINO's reader adds none to it."""
    path = tmp_path / "net.pb"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"cannot read .*net\.pb: {said}") as caught:
        convert_openvino((path,), tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_mobilenet_thin_agrees(tmp_path):
    """mobilenet-thin as ONNX gives what its frozen graph gives, in float32, to 1e-4."""
    weights = find("mobilenet-thin")
    convert_openvino(weights.paths, tmp_path / "thin.onnx")
    image = picture(184, 248)
    (expected,) = compute(weights.paths, image, is_nhwc=True).values()
    (got,) = compute((tmp_path / "thin.onnx",), image).values()
    assert np.abs(got - expected).max() < 1e-4


@pytest.fixture
def rounded(tmp_path):
    """A network whose picture is rounded with one scale, and whose weights with one a channel."""
    openvino = load_openvino()
    ops, random = openvino.opset13, np.random.default_rng(5)

    def fake_quantize(source, low, high, levels):
        bounds = [ops.constant(np.asarray(bound, np.float32)) for bound in (low, high, low, high)]
        return ops.fake_quantize(source, *bounds, levels)

    image = ops.parameter([-1, 3, -1, -1], np.float32, name="image")
    kernel = ops.constant(random.normal(0, 0.1, (44, 3, 8, 8)).astype(np.float32))
    weights = fake_quantize(kernel, np.full((44, 1, 1, 1), -0.3), np.full((44, 1, 1, 1), 0.3), 255)
    given = fake_quantize(image, np.zeros((1, 1, 1, 1)), np.full((1, 1, 1, 1), 255), 256)
    maps = ops.convolution(given, weights, [8, 8], [0, 0], [0, 0], [1, 1])
    maps.output(0).set_names({"maps"})
    path = tmp_path / "rounded.xml"
    openvino.save_model(openvino.Model([ops.result(maps)], [image], "rounded"), path, compress_to_fp16=False)
    return path, path.with_suffix(".bin")


def test_one_scale_for_all_is_a_scalar(rounded, tmp_path):
    """A scale and zero point for a whole tensor have no axis: ONNX Runtimes before 1.32 take nothing else."""
    onnx = pytest.importorskip("onnx")
    assert convert_openvino(rounded, tmp_path / "rounded.onnx").is_int8
    graph = onnx.load(tmp_path / "rounded.onnx").graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    told = {
        (node.op_type, shapes[name])
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input[1:]
    }
    assert told == {("QuantizeLinear", ()), ("DequantizeLinear", ()), ("DequantizeLinear", (44,))}


def test_int8_network_agrees(tmp_path):
    """The int8 network stays int8 in ONNX, and differs from itself in OpenVINO by rounding alone (root mean square)."""
    onnx = pytest.importorskip("onnx")
    weights = find("human-pose-estimation-0001-int8")
    converted = convert_openvino(weights.paths[:1], tmp_path / "int8.onnx")
    assert converted.is_int8
    kinds = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert kinds.count("QuantizeLinear") > 50
    image = picture(256, 456)
    expected, got = compute(weights.paths[:1], image), compute((tmp_path / "int8.onnx",), image)
    assert expected.keys() == got.keys()
    for name, maps in expected.items():
        assert np.sqrt(np.mean((got[name] - maps) ** 2)) < 0.01
