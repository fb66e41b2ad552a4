from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from posestream.models.engines.runtime import load_core
from posestream.models.errors import ModelError
from posestream.models.importers import Wanted, import_caffe
from posestream.models.importers.caffe_file import read_blobs, read_prototxt
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore

from .architectures import Architecture, body25, caffemodel, odd, prototxt, two_branches, write

#: Widths are divided by this; 1 is the real networks, which takes half a minute.
THINNER = int(os.environ.get("POSESTREAM_TEST_THINNER", "16"))
#: Heights and widths, none of them the prototxt's own.
SIZES = ((32, 32), (48, 64), (64, 40))
ARCHITECTURES = {
    "openpose-mpi, 4 stages": (lambda: two_branches(4, 16, 28, THINNER), "openpose-15"),
    "openpose-mpi, 6 stages": (lambda: two_branches(6, 16, 28, THINNER), "openpose-15"),
    "openpose-coco": (lambda: two_branches(6, 19, 38, THINNER), "openpose-18"),
    "openpose-body25": (lambda: body25(THINNER), "body-25"),
    "what these lack": (odd, "openpose-15"),
}


def small() -> Architecture:
    """Give a network of few layers."""
    return two_branches(1, 16, 28, 32)


def imported(net, folder, layout="openpose-15", **forms):
    """Import a network into a folder; give its spec and ONNX file."""
    paths = write(net, folder, **forms)
    spec = import_caffe(Wanted("made", layout, folder=folder / "models"), *paths)
    return spec, folder / "models" / "made" / "made.onnx"


def run(path, image):
    """Run an ONNX file on the processor, in float32."""
    core = load_core()
    network = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return network({0: image})[0]


def pictures():
    """Give a noise picture of each size, as these networks take them."""
    random = np.random.default_rng(3)
    return {f"{h}x{w}": random.uniform(-0.5, 0.5, (1, 3, h, w)).astype(np.float32) for h, w in SIZES}


def assert_agrees(path, expected, inputs):
    """Compare every output to 1e-4 of the largest value."""
    assert expected.keys() == inputs.keys()
    for name, image in inputs.items():
        assert np.abs(run(path, image) - expected[name]).max() <= 1e-4 * np.abs(expected[name]).max()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_imported_network_agrees_with_opencv(name, tmp_path, opencv4):
    """Each of OpenPose's architectures, imported, gives what OpenCV 4's own Caffe reader gives, at several sizes."""
    make, layout = ARCHITECTURES[name]
    _, path = imported(make(), tmp_path, layout)
    inputs = pictures()
    assert_agrees(path, opencv4(tmp_path / "made.prototxt", tmp_path / "made.caffemodel", inputs), inputs)


@pytest.mark.parametrize(
    "forms",
    [
        {"form": "layers", "legacy_shapes": True},
        {"form": "layers"},
        {"legacy_shapes": True},
        {"input_form": "layer"},
        {"input_form": "input_shape"},
    ],
    ids=str,
)
def test_older_forms_give_the_same_network(forms, tmp_path, opencv4):
    """The older `layers` form, blobs of four sizes and each way to tell the input give the same network."""
    usual, older = tmp_path / "usual", tmp_path / "older"
    usual.mkdir()
    older.mkdir()
    _, expected = imported(small(), usual)
    _, path = imported(small(), older, **forms)
    assert path.read_bytes() == expected.read_bytes()
    inputs = pictures()
    assert_agrees(path, opencv4(older / "made.prototxt", older / "made.caffemodel", inputs), inputs)


def test_record_says_what_the_network_takes_and_gives(tmp_path):
    """An imported network is in the registry with OpenPose's scaling, its stride, its channels and its digests."""
    spec, path = imported(body25(32), tmp_path, "body-25")
    registry = load_registry([tmp_path / "models"])
    assert registry["made"] == spec
    assert (spec.input.scale, spec.input.shift, spec.stride) == (1 / 256, -0.5, 8)
    assert (spec.heatmaps.first, spec.heatmaps.count, spec.pafs.first, spec.pafs.count) == (0, 26, 26, 52)
    assert spec.files[0].source == "made.prototxt, made.caffemodel"
    weights = WeightStore([tmp_path / "models"], tmp_path).locate(spec)
    assert weights is not None
    assert weights.paths == (path,)


def test_order_of_the_channels_is_found(tmp_path):
    """Where the last layer joins PAFs before heatmaps, the record says so."""
    spec, _ = imported(odd(), tmp_path)
    assert (spec.heatmaps.first, spec.pafs.first) == (28, 0)


def test_licence_is_known_of_known_files(tmp_path, monkeypatch):
    """A file that the registry knows by its digest brings its licence along; of others it is what the user says."""
    paths = write(small(), tmp_path)
    openpose = load_registry([])["openpose-mpi"]
    monkeypatch.setattr("posestream.models.importers.known_origin", lambda path: openpose)
    spec = import_caffe(Wanted("made", "openpose-15", folder=tmp_path), *paths)
    assert (spec.licence, spec.is_restricted) == (openpose.licence, True)
    monkeypatch.undo()
    mine = import_caffe(Wanted("mine", "openpose-15", licence="MIT", folder=tmp_path), *paths)
    assert (mine.licence, mine.is_restricted) == ("MIT", False)


def test_weights_of_other_layers_are_passed_over(tmp_path, opencv4):
    """A caffemodel of six stages serves a prototxt of four, as OpenPose's own MPI weights do."""
    short, long = two_branches(2, 16, 28, 32), two_branches(4, 16, 28, 32)
    paths = write(long, tmp_path)
    paths[0].write_text(prototxt(short), "utf-8")
    import_caffe(Wanted("made", "openpose-15", folder=tmp_path / "models"), *paths)
    inputs = pictures()
    assert_agrees(tmp_path / "models" / "made" / "made.onnx", opencv4(*paths, inputs), inputs)


def test_layers_of_the_training_are_left_out(tmp_path):
    """Layers of the training phase alone are no part of the network."""
    paths = write(small(), tmp_path)
    extra = 'layer { name: "loss" type: "EuclideanLoss" bottom: "net_output" top: "l" include { phase: TRAIN } }\n'
    paths[0].write_text(paths[0].read_text("utf-8") + extra, "utf-8")
    assert all(layer.kind != "EuclideanLoss" for layer in read_prototxt(paths[0]).layers)


def test_layers_that_the_use_excludes_are_left_out(tmp_path):
    """Layers that are excluded from the phase of use are no part of the network; those excluded from training are."""
    paths = write(small(), tmp_path)
    text = paths[0].read_text("utf-8")
    for phase in ("TEST", "TRAIN"):
        text += (
            f'layer {{ name: "{phase}" type: "Split" bottom: "net_output" top: "l" exclude {{ phase: {phase} }} }}\n'
        )
    paths[0].write_text(text, "utf-8")
    assert [layer.name for layer in read_prototxt(paths[0]).layers][-1] == "TRAIN"
    assert "TEST" not in [layer.name for layer in read_prototxt(paths[0]).layers]


def test_prototxt_with_a_byte_order_mark_is_read(tmp_path):
    """A prototxt that an editor has put a byte-order mark before is the same network."""
    paths = write(small(), tmp_path)
    usual = read_prototxt(paths[0]).layers
    paths[0].write_text("\ufeff" + paths[0].read_text("utf-8"), "utf-8")
    assert [layer.name for layer in read_prototxt(paths[0]).layers] == [layer.name for layer in usual]


def cut(net, paths):
    """Cut the end off."""
    paths[1].write_bytes(paths[1].read_bytes()[:-100])


def cut_between_layers(net, paths):
    """End the file behind its first layer."""
    half = dataclasses.replace(net.layers[0])
    net.layers = [half]
    paths[1].write_bytes(caffemodel(net))


def first_version(net, paths):
    """Write a layer of the version before the first `layers`."""
    # A V1LayerParameter (field 2) whose field 1 is a layer of the version before it.
    paths[1].write_bytes(b"\x12\x06\x0a\x04\x0a\x02c1")


def hdf5(net, paths):
    """Write what Caffe's HDF5 files begin with."""
    paths[1].write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))


def empty(net, paths):
    """Write nothing."""
    paths[1].write_bytes(b"")


def other_shape(net, paths):
    """Take a colour from the first kernel."""
    net.layers[0].blobs[0] = net.layers[0].blobs[0][:, :2]
    paths[1].write_bytes(caffemodel(net))


def other_bias(net, paths):
    """Shorten the first bias."""
    net.layers[0].blobs[1] = net.layers[0].blobs[1][:1]
    paths[1].write_bytes(caffemodel(net))


def blob_without_all_values(net, paths):
    """Promise more values than there are."""
    shape = net.layers[0].blobs[0].shape
    content = caffemodel(net)
    assert bytes(shape) in content
    paths[1].write_bytes(content.replace(bytes(shape), bytes((shape[0] + 1, *shape[1:])), 1))


def no_prototxt(net, paths):
    """End the text within a layer."""
    paths[0].write_text("layer { name: ", "utf-8")


def no_text(net, paths):
    """Write what is no text."""
    paths[0].write_bytes(b"\xff\xfe")


def no_layers(net, paths):
    """Leave out all layers."""
    paths[0].write_text('name: "nothing"', "utf-8")


def unknown_layer(net, paths):
    """Use a layer that these networks do not have."""
    paths[0].write_text(paths[0].read_text("utf-8").replace('"Pooling"', '"SPPLayer"', 1), "utf-8")


def unknown_blob(net, paths):
    """Take a blob that nobody gives."""
    paths[0].write_text(paths[0].read_text("utf-8").replace('bottom: "conv1_1"', 'bottom: "conv9"', 1), "utf-8")


def edited(old, new):
    """Give what changes a word of the prototxt, once, and rewrites no weights."""

    def edit(net, paths):
        text = paths[0].read_text("utf-8")
        assert old in text
        paths[0].write_text(text.replace(old, new, 1), "utf-8")

    return edit


def added(layer):
    """Give what adds a layer at the end of the prototxt."""

    def add(net, paths):
        paths[0].write_text(paths[0].read_text("utf-8") + layer, "utf-8")

    return add


def absent(net, paths):
    """Take the weights away."""
    paths[1].unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "is cut off, or no caffemodel"),
        (cut_between_layers, "needs 2 blobs of weights, and the caffemodel has none: it is cut off"),
        (first_version, "first version"),
        (hdf5, "as HDF5"),
        (empty, "has no weights"),
        (other_shape, "layer conv1_1 needs weights of 2×3×3×3, and the caffemodel has 2×2×3×3"),
        (other_bias, "layer conv1_1 needs 2 values of bias, and the caffemodel has 1"),
        (blob_without_all_values, "layer conv1_1 has 216 bytes of weights for a shape of 3×3×3×3"),
        (no_prototxt, "is no prototxt"),
        (no_text, "is no prototxt"),
        (no_layers, "one input and some layers"),
        (unknown_layer, "is a SPPLayer, which is not known here"),
        (unknown_blob, "takes 'conv9', which no layer before it gives"),
        (absent, "cannot read"),
        (edited("axis: 1", "axis: 2"), "joins along axis 2 instead of the channels"),
        (edited("pool: MAX", "pool: AVE"), "pools otherwise than by the maximum"),
        (edited("pool: MAX", "pool: MAX global_pooling: true"), "pools otherwise than by the maximum"),
        (edited("num_output:", "group: 0 num_output:"), "layer conv1_1 has no group"),
        (edited("num_output:", "group: 2 num_output:"), "layer conv1_1 needs weights of 2×1×3×3"),
        (edited("pad: 1", "pad: 4294967295"), "layer conv1_1 pads by 4294967295, which is more than its window of 3"),
        (edited("kernel_size: 2", "kernel_size: 2 pad: 2"), "pads by 2, which is more than its window of 2 needs"),
        (edited("kernel_size: 2", "kernel_size: 2 pad: 1"), "the record promises 16×8×9"),
        (edited("kernel_size: 2", "kernel_size: 2 stride_h: 1 stride_w: 2"), "different strides across and down"),
        (
            added('layer { name: "conv1_1" type: "Split" bottom: "net_output" top: "again" }'),
            "layer conv1_1 is there more than once",
        ),
        (
            added(
                'layer { name: "sum" type: "Eltwise" bottom: "net_output" bottom: "net_output" top: "sum" '
                "eltwise_param { coeff: 1 coeff: -1 } }"
            ),
            "layer sum weighs what it adds",
        ),
        (
            added('layer { name: "join" type: "Concat" bottom: "net_output" bottom: "conv1_1" top: "join" }'),
            "layer join joins maps of different sizes",
        ),
        (
            added('layer { name: "sum" type: "Eltwise" bottom: "pool1_stage1" bottom: "conv1_1" top: "sum" }'),
            "layer sum joins maps of different sizes",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(damage, said, tmp_path):
    """A file that is damaged, of another version or of another network gives one line, and nothing is installed."""
    net = small()
    paths = write(net, tmp_path)
    damage(net, paths)
    with pytest.raises(ModelError) as caught:
        import_caffe(Wanted("made", "openpose-15", folder=tmp_path / "models"), *paths)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert load_registry([tmp_path / "models"]) == load_registry([])


def test_wrong_layout_is_told_with_what_there_is(tmp_path):
    """A layout that the network's channels do not fit is refused with both counts."""
    with pytest.raises(
        ModelError, match="has 19 heatmaps and 38 PAF channels, and no output fits it: net_output has 44"
    ):
        imported(small(), tmp_path, "openpose-18")


def test_doubles_are_read(tmp_path):
    """Weights that were written as doubles are read as floats."""
    message_path = tmp_path / "made.caffemodel"
    values = np.arange(3, dtype="<f8")
    from posestream.models.importers.caffe_schema import message_class  # noqa: PLC0415 - after the extra's check

    message = message_class("NetParameter")()
    blob = message.layer.add(name="a", type="PReLU").blobs.add(double_data=[values.tobytes()])
    blob.shape.dim.append(3)
    message_path.write_bytes(message.SerializeToString())
    np.testing.assert_array_equal(read_blobs(message_path)["a"][0], values.astype(np.float32))
