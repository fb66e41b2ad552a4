from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from posestream.models.engines import devices_of, open_engine
from posestream.models.errors import EngineError, ModelError
from posestream.models.importers import Wanted, import_onnx, trial
from posestream.models.registry import load_registry
from posestream.models.spec import DEVICE_FAMILIES
from posestream.models.weights import Weights

from ..own_network import write_own  # noqa: TID252 - tests are no package that could be named

#: Families whose engines run on any processor.
FAMILIES = ("cpu", "ort-cpu", "opencv-cpu")


def imported(tmp_path, **odd):
    """Import a network of one's own; give its spec, file and kernel."""
    path = tmp_path / "own.onnx"
    kernel = write_own(path, **odd)
    spec = import_onnx(Wanted("mine", "", folder=tmp_path / "models"), path, path.with_suffix(".toml"))
    return spec, tmp_path / "models" / "mine" / "mine.onnx", kernel


@pytest.mark.parametrize(
    ("odd", "is_kept"),
    [
        ({}, True),
        ({"opset": 7}, True),
        ({"opset": 9}, True),
        ({"picture": "picture", "between": "picture_0"}, True),
        ({"is_nhwc_in": True, "is_nhwc_out": True}, True),
        ({"dtype": np.float16}, True),
        ({"dtype": np.float64}, False),
        ({"input_dtype": np.uint8}, False),
        ({"input_dtype": np.int32}, False),
        ({"input_dtype": np.uint8, "dtype": np.float64}, False),
    ],
    ids=str,
)
def test_what_is_stored_runs_on_every_engine_that_is_named(odd, is_kept, tmp_path, picture, wait):
    """Old, oddly named and oddly typed files are for all devices, and each engine that is here gives their numbers."""
    spec, path, kernel = imported(tmp_path, **odd)
    assert spec.devices == DEVICE_FAMILIES
    assert (path.read_bytes() == (tmp_path / "own.onnx").read_bytes()) is is_kept
    image = picture(64, 72)
    value = image.astype(np.float64) * spec.input.scale + spec.input.shift
    expected = np.einsum("yixjc,ocij->oyx", value.reshape(8, 8, 9, 8, 3), kernel)
    for family in FAMILIES:
        for device in devices_of(family)[:1]:
            with closing(open_engine(spec, Weights(spec, (path,)), device, "f32")) as engine:
                engine.submit([0], [image])
                (done,) = wait(engine)
            got = np.concatenate([done.heatmaps_chw, done.pafs_chw])
            assert np.abs(got - expected).max() < 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize(("scale", "shift"), [("0.00390625", "-0.5"), ("2", "0"), ("1", "-1")])
def test_whole_numbers_that_cannot_hold_the_picture_are_refused(scale, shift, tmp_path):
    """A network of bytes whose spec file scales the picture to what is none is refused in one line."""
    path = tmp_path / "own.onnx"
    write_own(path, input_dtype=np.uint8)
    spec = path.with_suffix(".toml")
    spec.write_text(spec.read_text("utf-8").replace("scale = 1, shift = 0", f"scale = {scale}, shift = {shift}"))
    with pytest.raises(ModelError, match=r"x is of uint8, which cannot hold value · .* write scale = 1") as caught:
        import_onnx(Wanted("mine", "", folder=tmp_path / "models"), path, spec)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "models").exists()


def test_engine_that_fails_is_left_out_with_its_kin(tmp_path, monkeypatch, caplog):
    """An engine that cannot run a network is not in its record, nor is a device of that engine that is not here."""

    def opened(spec, weights, device, *more, **named):
        if device == "opencv-cpu":
            raise EngineError("OpenCV cannot read it")
        return open_engine(spec, weights, device, *more, **named)

    monkeypatch.setattr(trial, "open_engine", opened)
    spec, _, _ = imported(tmp_path)
    assert set(DEVICE_FAMILIES) - set(spec.devices) == {"opencv-cpu", "opencv-cuda"}
    assert load_registry([tmp_path / "models"])["mine"] == spec
    assert [record.getMessage() for record in caplog.records] == ["mine is not for opencv-cpu: OpenCV cannot read it"]


def test_engine_that_computes_something_else_is_left_out(tmp_path, monkeypatch, caplog):
    """Of engines that give different maps the one that no other agrees with is left out, even if it is the first."""
    if not all(devices_of(family) for family in FAMILIES):
        pytest.skip("two engines must outvote a third: pip install -e '.[onnxruntime]'")
    maps = trial._maps

    def other(spec, files, device, precision):
        made = maps(spec, files, device, precision)
        return np.roll(made, 1, axis=2) if device == "cpu" else made

    monkeypatch.setattr(trial, "_maps", other)
    spec, _, _ = imported(tmp_path)
    assert set(DEVICE_FAMILIES) - set(spec.devices) == {"cpu", "intel-gpu", "npu"}
    assert [record.getMessage() for record in caplog.records] == [
        "mine is not for cpu: it gives other maps than ort-cpu does"
    ]


def test_network_that_no_engine_runs_is_refused(tmp_path, monkeypatch):
    """A network that fails on every engine is not installed, and the first one's reason is told."""

    def opened(spec, weights, device, *more, **named):
        raise EngineError(f"{device} cannot read it")

    monkeypatch.setattr(trial, "open_engine", opened)
    with pytest.raises(ModelError, match="mine cannot be run on cpu as its record says: cpu cannot read it"):
        imported(tmp_path)
    assert not list(Path(tmp_path, "models").glob("*"))
