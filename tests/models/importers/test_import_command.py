from __future__ import annotations

import pytest

from posestream.pipeline.commands import main

from .architectures import two_branches, write


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Keep imported networks out of the user's cache."""
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))


def test_caffe_network_is_imported_and_listed(tmp_path, capsys):
    """`models import` makes Caffe's two files a network that `models list` and `models info` show."""
    prototxt, caffemodel = write(two_branches(1, 16, 28, 32), tmp_path)
    words = ["--name", "mine", "--layout", "openpose-15", "--prototxt", str(prototxt), "--caffemodel", str(caffemodel)]
    assert main(["models", "import", *words]) == 0
    assert capsys.readouterr().out.startswith("mine: openpose-15, stride 8, for cpu, intel-gpu, npu, opencv-cpu, ")
    assert main(["models", "list"]) == 0
    assert any(line.startswith("mine ") for line in capsys.readouterr().out.splitlines())
    assert main(["models", "info", "mine"]) == 0
    assert "made.caffemodel" in capsys.readouterr().out
    assert main(["models", "import", *words]) == 4
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--prototxt", "a"],
        ["--graph", "a.pb", "--onnx", "a.onnx"],
        ["--onnx", "a.onnx", "--spec", "a.toml", "--scale", "2"],
    ],
    ids=str,
)
def test_files_that_do_not_go_together_are_a_usage_error(words, capsys):
    """Options that are no complete set of files, or say twice what the spec file says, exit with 2 and one line."""
    assert main(["models", "import", "--name", "mine", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_files_that_are_no_network_exit_with_4(tmp_path, capsys):
    """A file that cannot be imported exits with 4 and one line."""
    (tmp_path / "net.pb").write_bytes(b"no graph")
    assert main(["models", "import", "--name", "mine", "--graph", str(tmp_path / "net.pb")]) == 4
    assert capsys.readouterr().err.count("\n") == 1
