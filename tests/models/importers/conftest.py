"""What the importers' tests share: the extra that they need, and OpenCV 4 in an environment of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
READER = Path(__file__).with_name("opencv4_reader.py")
#: A program that computes outputs for named inputs.
Reference = Callable[[Path, Path, dict[str, np.ndarray]], dict[str, np.ndarray]]


@pytest.fixture(autouse=True)
def _extra() -> None:
    """Skip where the extra is not installed."""
    pytest.importorskip("onnx", reason="the extra is not installed: pip install -e '.[import]'")
    pytest.importorskip("google.protobuf", reason="the extra is not installed: pip install -e '.[import]'")


@pytest.fixture
def opencv4(tmp_path: Path) -> Reference:
    """Give what runs a Caffe network with OpenCV 4's own reader; skip where that is not at hand."""
    python = Path(os.environ.get("POSESTREAM_OPENCV4", ROOT / ".venv-opencv4" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"no OpenCV 4 at {python}: see .ci/run, or name a Python that has it in POSESTREAM_OPENCV4")

    def compute(prototxt: Path, caffemodel: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        np.savez(tmp_path / "inputs.npz", **inputs)
        words = [python, READER, prototxt, caffemodel, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - the arguments are ours
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "outputs.npz") as arrays:
            return dict(arrays.items())

    return compute
