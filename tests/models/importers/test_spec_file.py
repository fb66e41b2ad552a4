from __future__ import annotations

from pathlib import Path

import pytest

from posestream.models.errors import ModelError
from posestream.models.importers import Wanted, import_caffe, import_onnx
from posestream.models.registry import load_registry

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
        ('"openpose-18"', '"openpose-81"', "unknown layout 'openpose-81'"),
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
    assert not (tmp_path / "models" / "mine").exists()


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
    assert sorted(path.name for path in folder.iterdir()) == ["mine"]


def test_network_of_caffe_takes_the_place_of_its_hint(onnx_file, spec_file, tmp_path):
    """An import under the name of a registry entry that asks for one takes that entry's place."""
    folder = tmp_path / "models"
    import_onnx(Wanted("openpose-coco", "", folder=folder), onnx_file, spec_file)
    assert load_registry([folder])["openpose-coco"].files[0].name == "openpose-coco.onnx"


def test_damaged_record_is_named(onnx_file, spec_file, tmp_path):
    """A record that is damaged is an error that names it and what to do."""
    folder = tmp_path / "models"
    import_onnx(Wanted("mine", "", folder=folder), onnx_file, spec_file)
    record = folder / "mine" / "network.toml"
    record.write_text("[[network", "utf-8")
    with pytest.raises(ModelError, match=r"mine/network\.toml is damaged .*delete .*mine and import it again"):
        load_registry([folder])
