from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posestream.models.errors import ModelError
from posestream.models.importers import Wanted, import_caffe, import_onnx
from posestream.models.registry import find_network, load_registry
from posestream.pipeline.commands import main

from .architectures import two_branches, write

TEMPLATE = Path(__file__).parents[3] / "configs" / "networks" / "own_onnx.toml"


@pytest.fixture
def onnx_file(tmp_path):
    """An ONNX file of openpose-18."""
    paths = write(two_branches(1, 19, 38, 32), tmp_path)
    import_caffe(Wanted("made", "openpose-18", folder=tmp_path / "made"), *paths)
    return tmp_path / "made" / "made" / "made.onnx"


@pytest.fixture
def spec_file(tmp_path):
    """The template, as a user copies it."""
    path = tmp_path / "spec.toml"
    path.write_text(TEMPLATE.read_text("utf-8"), "utf-8")
    return path


def test_own_file_is_taken_as_it_is(onnx_file, spec_file, tmp_path):
    """An ONNX file of the user's own is copied, checked against its spec file, and becomes a network."""
    spec = import_onnx(Wanted("mine", "", folder=tmp_path / "models"), onnx_file, spec_file)
    assert (tmp_path / "models" / "mine" / "mine.onnx").read_bytes() == onnx_file.read_bytes()
    assert load_registry([tmp_path / "models"])["mine"] == spec
    assert (spec.licence, spec.stride, spec.heatmaps.count) == ("Apache-2.0", 8, 19)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"net_output", layout = "nchw", first = 0',
            '"maps", layout = "nchw", first = 0',
            "has no output 'maps', only net_output",
        ),
        ("first = 19", "first = 20", "net_output has 57 channels, and the spec file names 20 to 57"),
        ("stride = 8", "", "'stride' is missing"),
        ("stride = 8", "stride = 8\nspeed = 3", "unknown keys: speed"),
        ("stride = 8", "stride =", "is no TOML"),
        ("scale =", "scales =", "scales"),
        ("stride = 8", "stride = 16", "no whole cells"),
        (
            "stride = 8",
            "stride = 4",
            "gives heatmaps of 19×8×9 (channels, height, width), and the record promises 19×16×18",
        ),
        ("stride = 8", "stride = true", "stride is True instead of a whole number"),
        ("stride = 8", "stride = 0", "no whole cells"),
        ('"openpose-18"', '"openpose-81"', "unknown layout 'openpose-81'"),
        ('licence = "Apache-2.0"', "licence = 5", "licence is 5 instead of a text"),
        ("scale = 0.00390625", "scale = 0", "input: value · 0 -0.5 leaves nothing of a picture"),
        ("scale = 0.00390625", 'scale = "x"', "input.scale is 'x' instead of a finite number"),
        ("scale = 0.00390625", "scale = nan", "input.scale is nan instead of a finite number"),
        ("shift = -0.5", "shift = inf", "input.shift is inf instead of a finite number"),
        ("multiple = 8", "multiple = 0", "input.multiple is 0 instead of 1 to 1024"),
        ("multiple = 8", "multiple = 80000", "input.multiple is 80000 instead of 1 to 1024"),
        ("count = 19", "count = 19.0", "heatmaps.count is 19.0 instead of a whole number"),
        ("first = 0, count = 19", "first = -1, count = 19", "heatmaps.first is -1: channels are counted from 0"),
        ("first = 19", "first = 0", "heatmaps and PAFs overlap"),
        (
            '"net_output", layout = "nchw", first = 0',
            '["net_output"], layout = "nchw", first = 0',
            "heatmaps.tensor is",
        ),
        ("pafs = {", "pafs = 3 # {", "pafs is 3 instead of a table"),
        (
            'input = { layout = "nchw"',
            'input = { layout = "nwch"',
            "input.layout is 'nwch' instead of one of nchw, nhwc",
        ),
        (
            'input = { layout = "nchw"',
            'input = { layout = "nhwc"',
            "no picture of three colours in nhwc (input.layout)",
        ),
        ("# is_restricted = false", 'is_restricted = "no"', "is_restricted is 'no' instead of true or false"),
        ("# devices =", 'devices = "cpu" #', "devices is 'cpu' instead of a list"),
        ("# devices =", 'devices = ["cpu", "gpu"] #', "devices: 'gpu' is none of cpu, intel-gpu"),
        ("# devices =", "devices = [1] #", "devices[0] is 1 instead of a text"),
        ("# devices =", "devices = [] #", "it needs devices"),
    ],
)
def test_spec_file_that_does_not_fit_is_one_line(onnx_file, spec_file, tmp_path, old, new, said):
    """A spec file that is wrong, or does not fit the ONNX file, is refused in one line and nothing is installed."""
    text = spec_file.read_text("utf-8")
    assert old in text
    spec_file.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ModelError) as caught:
        import_onnx(Wanted("mine", "", folder=tmp_path / "models"), onnx_file, spec_file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "models").glob("*"))


def test_axes_that_are_others_are_found_by_running(onnx_file, spec_file, tmp_path):
    """Maps whose axes are told wrongly are found when the network is run, and nothing is installed."""
    text = spec_file.read_text("utf-8")
    for key in ("heatmaps", "pafs"):
        text = text.replace(
            f'{key} = {{ tensor = "net_output", layout = "nchw"', f'{key} = {{ tensor = "net_output", layout = "nhwc"'
        )
    spec_file.write_text(text, "utf-8")
    with pytest.raises(ModelError, match="mine") as caught:
        import_onnx(Wanted("mine", "", folder=tmp_path / "models"), onnx_file, spec_file)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "models").glob("*"))


def own(path, inputs=(("x", ("b", 3, "h", "w")),)):
    """Write an ONNX file of one convolution, with these inputs."""
    import onnx  # noqa: PLC0415 - after the extra's check

    helper, types = onnx.helper, onnx.TensorProto
    kernel = np.ones((57, inputs[0][1][1], 8, 8), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["net_output"], strides=[8, 8])],
        "own",
        [helper.make_tensor_value_info(name, types.FLOAT, list(sizes)) for name, sizes in inputs],
        [helper.make_tensor_value_info("net_output", types.FLOAT, ["b", 57, None, None])],
        [onnx.numpy_helper.from_array(kernel, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([("x", ("b", 1, "h", "w"))], "x is b×1×h×w, and no picture of three colours in nchw"),
        ([("x", ("b", 3, "h", "w")), ("y", ("b", 3))], "takes 2 inputs instead of one picture: x, y"),
    ],
    ids=["one colour", "two inputs"],
)
def test_network_that_takes_something_else_is_refused(inputs, said, spec_file, tmp_path):
    """A network that takes grey pictures, or more than a picture, is refused in one line."""
    with pytest.raises(ModelError) as caught:
        import_onnx(Wanted("mine", "", folder=tmp_path / "models"), own(tmp_path / "own.onnx", inputs), spec_file)
    assert said in str(caught.value)
    assert not (tmp_path / "models").exists()


def test_network_that_nothing_here_runs_is_taken_untried(spec_file, tmp_path, monkeypatch, caplog):
    """A network for devices that this machine lacks is installed, and it is said that it was not tried."""
    monkeypatch.setattr("posestream.models.importers.trial.devices_of", lambda family: ())
    import_onnx(Wanted("mine", "", folder=tmp_path / "models"), own(tmp_path / "own.onnx"), spec_file)
    assert [record.getMessage()[:23] for record in caplog.records] == ["mine was not tried: non"]


def test_maps_that_are_no_numbers_are_refused(spec_file, tmp_path):
    """A network whose maps are not finite is refused."""
    spec_file.write_text(spec_file.read_text("utf-8").replace("0.00390625", "1e38"), "utf-8")
    with pytest.raises(ModelError, match="heatmaps are not finite"):
        import_onnx(Wanted("mine", "", folder=tmp_path / "models"), own(tmp_path / "own.onnx"), spec_file)


def test_file_that_is_cut_off_is_one_line(onnx_file, spec_file, tmp_path):
    """An ONNX file that is cut off is refused in one line."""
    onnx_file.write_bytes(onnx_file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="is cut off, or no sound ONNX file") as caught:
        import_onnx(Wanted("mine", "", folder=tmp_path / "models"), onnx_file, spec_file)
    assert "\n" not in str(caught.value)


def test_names_are_not_taken_twice(onnx_file, spec_file, tmp_path):
    """A name that was imported before needs --overwrite, and one that posestream comes with cannot be taken."""
    folder = tmp_path / "models"
    import_onnx(Wanted("mine", "", folder=folder), onnx_file, spec_file)
    with pytest.raises(ModelError, match="was made before"):
        import_onnx(Wanted("mine", "", folder=folder), onnx_file, spec_file)
    import_onnx(Wanted("mine", "", overwrite=True, folder=folder), onnx_file, spec_file)
    with pytest.raises(ModelError, match="a network that posestream comes with"):
        import_onnx(Wanted("mobilenet-thin", "", folder=folder), onnx_file, spec_file)
    with pytest.raises(ModelError, match="use lower-case letters"):
        import_onnx(Wanted("../Mine", "", folder=folder), onnx_file, spec_file)
    with pytest.raises(ModelError, match="--model auto chooses a network by itself"):
        import_onnx(Wanted("auto", "", folder=folder), onnx_file, spec_file)
    with pytest.raises(ModelError, match="network name aaaaaaaaaaaaaaaaaaaa…: use at most 100 letters"):
        import_onnx(Wanted("a" * 300, "", folder=folder), onnx_file, spec_file)
    assert sorted(path.name for path in folder.iterdir()) == ["mine"]


def test_network_of_caffe_takes_the_place_of_its_hint(onnx_file, spec_file, tmp_path):
    """An import under the name of a registry entry that asks for one takes that entry's place."""
    folder = tmp_path / "models"
    import_onnx(Wanted("openpose-coco", "", folder=folder), onnx_file, spec_file)
    assert load_registry([folder])["openpose-coco"].files[0].name == "openpose-coco.onnx"


@pytest.mark.parametrize(
    ("old", "new"),
    [("[[network", "[[[network"), ('licence = "Apache-2.0"', "licence = 5"), ("stride = 8", "stride = 1e3")],
    ids=str,
)
def test_damaged_record_is_named(old, new, onnx_file, spec_file, tmp_path, monkeypatch, capsys):
    """A record that is damaged is told in one line with what to do, to those who ask for it; the others are listed."""
    folder = tmp_path / "cache" / "models"
    for name in ("mine", "yours"):
        import_onnx(Wanted(name, "", folder=folder), onnx_file, spec_file)
    record = folder / "mine" / "network.toml"
    text = record.read_text("utf-8")
    assert old in text
    record.write_text(text.replace(old, new, 1), "utf-8")
    registry = load_registry([folder])
    assert "yours" in registry
    with pytest.raises(ModelError, match=r"mine/network\.toml is damaged .*delete .*mine and import it again"):
        find_network("mine", registry)
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))
    assert main(["models", "list"]) == 0
    told = capsys.readouterr()
    assert "yours" in told.out
    assert told.err.startswith(f"posestream: {record} is damaged")
    assert told.err.count("\n") == 1
    assert main(["models", "info", "mine"]) == 4


def test_whole_record_of_a_folder_before_hides_a_damaged_one(onnx_file, spec_file, tmp_path):
    """A network that is whole in an earlier folder is that one, whatever stands in a later one."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        import_onnx(Wanted("mine", "", folder=folder), onnx_file, spec_file)
    (second / "mine" / "network.toml").write_text("[[network", "utf-8")
    registry = load_registry([first, second])
    assert find_network("mine", registry).name == "mine"
    assert registry.damaged == {}
