"""`models quantize` from end to end, on a network whose people are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posestream.models.importers.openvino_graph import convert_openvino
from posestream.models.importers.record import Origin, Record, install
from posestream.models.registry import packaged_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.commands import main

from . import painted

pytest.importorskip("nncf", reason="quantising needs the extra `quantize`")

SHARED = Path(__file__).parents[2] / "shared"
INT8 = packaged_registry()["human-pose-estimation-0001-int8"]
#: The speed of so small a network on a busy machine is chance: what it is to be is tested in test_speed.py.
ANY_SPEED = ("--least-speedup", "0", "--rounds", "1")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of networks that has one whose channels span 300 times."""
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POSESTREAM_MODELS", raising=False)
    folder = tmp_path / "cache" / "models"
    painted.install_painted(folder, span=300.0)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures with two people in each."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(15):
        painted.paint(folder / f"{number}.png", seed=number)
    return folder


def test_a_network_that_still_sees_is_kept_and_runs(
    models: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What passes the gate is a network like any other: listed, described, refused where it cannot run, and run."""
    words = ["models", "quantize", "painted", "--images", str(pictures), "--frames", "15", "--json", *ANY_SPEED]

    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["is_kept"]
    assert told["recall"] > 0.95
    assert told["precision"] > 0.95
    assert told["speedup"]["f32"] > 0
    assert (told["calibration_frames"], told["held_back_frames"]) == (10, 5)
    assert sorted(path.name for path in (models / "painted-int8").iterdir()) == [
        "network.toml",
        "painted-int8.bin",
        "painted-int8.xml",
    ]

    assert main(["models", "info", "painted-int8"]) == 0
    info = capsys.readouterr().out
    assert "cpu, intel-gpu, npu" in info
    assert "Apache-2.0" in info

    lines = tmp_path / "people.jsonl"
    run = ["run", str(pictures), "--model", "painted-int8", "--save-jsonl", str(lines), "--quiet"]
    assert main([*run, "--device", "opencv-cpu"]) == 4
    assert "cannot run painted-int8" in capsys.readouterr().err
    assert main(run) == 0
    people = [len(json.loads(line)["people"]) for line in lines.read_text("utf-8").splitlines()]
    assert people == [2] * 15

    assert main(words) == 4
    assert "--overwrite" in capsys.readouterr().err
    assert main(["models", "quantize", "painted-int8", "--images", str(pictures)]) == 4
    assert "in int8 already" in capsys.readouterr().err


def test_a_network_that_does_not_pass_leaves_nothing(
    models: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fails the gate is measured and told too, and exits with 4; the registry is as it was."""
    words = ["models", "quantize", "painted", "--images", str(pictures), "--frames", "15", "--rounds", "1"]

    assert main([*words, "--keep-float", "0", "--least-speedup", "1000", "--json"]) == 4

    told = capsys.readouterr()
    report = json.loads(told.out)
    assert not report["is_kept"]
    assert report["in_float"] == []
    assert any("less than 1000" in fault for fault in report["faults"])
    assert "painted-int8 is not kept" in told.err.splitlines()[-1]
    assert [path.name for path in models.iterdir()] == ["painted"]


def test_layers_that_suffer_are_left_in_float(models: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A number of layers stays in float where that was asked for, and the table says how many."""
    words = ["models", "quantize", "painted", "--images", str(pictures), "--frames", "15", *ANY_SPEED]

    assert main([*words, "--keep-float", "1", "--name", "mostly"]) == 0

    assert "1 of 4" in capsys.readouterr().out
    assert (models / "mostly" / "network.toml").exists()


def test_pictures_without_people_are_an_error(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the float network sees nobody there is nothing to hold int8 against: one line, exit 3."""
    folder = tmp_path / "empty"
    folder.mkdir()
    for number in range(12):
        painted.paint(folder / f"{number}.png", seed=number, people=0, size_map=(32, 32 + number))

    assert main(["models", "quantize", "painted", "--images", str(folder), "--quiet"]) == 3
    assert "sees nobody" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--images", "nowhere", "--keep-float", "some"]], ids=str)
def test_options_without_sense_are_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No pictures at all, or a number of layers that is none, exits with 2 and one line."""
    assert main(["models", "quantize", "mobilenet-thin", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_real_network_is_quantised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The float network that Open Model Zoo's int8 one was made of passes the default limits of what is seen again."""
    pytest.importorskip("onnx", reason="making the float network needs the extra `import`")
    pictures = sorted((SHARED / "eval" / "dev" / "images").glob("*.jpg"))
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))
    weights = WeightStore((SHARED / "models",), tmp_path).locate(INT8)
    if not pictures or weights is None:
        pytest.skip("../shared with its pictures and networks is absent beside the repository")
    (tmp_path / "pictures").mkdir()
    for path in pictures[:60]:
        (tmp_path / "pictures" / path.name).symlink_to(path)
    paths, origin = weights.paths, Origin("its weights, in float", INT8.licence)

    def make(path: Path) -> Record:
        convert_openvino(paths, path, is_float=True)
        return Record("again", INT8.layout_name, origin, "IR", INT8.input, INT8.heatmaps, INT8.pafs, INT8.stride)

    install("again", make, tmp_path / "cache" / "models")
    words = ["models", "quantize", "again", "--images", str(tmp_path / "pictures"), "--frames", "60", "--json"]

    assert main([*words, "--keep-float", "0", *ANY_SPEED]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["in_float"] == []
    assert told["keypoints"] > 100
    assert main(["models", "list"]) == 0
    assert "again-int8" in capsys.readouterr().out
