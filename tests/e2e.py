"""What the end-to-end tests share: the command line called here or as a program, and a network that needs no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from av import open as open_media
from numpy.typing import NDArray

from posestream.models.choice import Choice, choose
from posestream.models.engines.fake import FakeEngine
from posestream.models.errors import FetchError
from posestream.models.registry import load_registry
from posestream.models.spec import NetworkSpec
from posestream.models.weights import FOLDERS_VARIABLE, Weights, WeightStore
from posestream.pipeline.commands import main

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "run_pipeline.py"
#: Nothing here takes longer; what does has hung.
DEADLINE_S = 120.0
#: The file of a network that is not read.
_NO_FILE = Path("no-folder/no-file")
#: Where the fake network sees keypoints: x and y as parts of the picture, in the order of openpose-18.
_PLACES = (
    *((0.5, 0.15), (0.5, 0.3), (0.35, 0.3), (0.3, 0.45), (0.3, 0.6), (0.65, 0.3), (0.7, 0.45), (0.7, 0.6)),
    *((0.42, 0.6), (0.42, 0.75), (0.42, 0.9), (0.58, 0.6), (0.58, 0.75), (0.58, 0.9)),
    *((0.46, 0.1), (0.54, 0.1), (0.4, 0.15), (0.6, 0.15)),
)


@dataclass(frozen=True)
class Outcome:
    """What the command line gave."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it said on standard error."""
        return self.err.splitlines()

    @property
    def complaints(self) -> list[str]:
        """What it said there beside news, which begin like this."""
        news = ("posestream: fake network", "posestream: mobilenet-thin on", "posestream: human-pose-estimation-0001-")
        return [line for line in self.lines if not line.startswith(news)]


@dataclass
class CommandLine:
    """Calls the command line in this process."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: object) -> Outcome:
        """Give what it said and returned."""
        self.capture.readouterr()
        code = main([str(word) for word in words])
        told = self.capture.readouterr()
        return Outcome(code, told.out, told.err)


class FakeNetwork:
    """Stands for the network: engines that see the same person in every picture, and how they were used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.choices = 0
        self.engines: list[FakeEngine] = []
        self._spec = load_registry()["mobilenet-thin"]
        monkeypatch.setattr("posestream.pipeline.job.choose", self._choose)
        monkeypatch.setattr("posestream.pipeline.replica.serving.open_engine", self._open)

    @property
    def sizes(self) -> set[tuple[int, int]]:
        """The network inputs' heights and widths."""
        return {size for engine in self.engines for size in engine.prepared}

    def _choose(self, model: str, *_: object) -> Choice:
        self.choices += 1
        return Choice(self._spec, Weights(self._spec, (_NO_FILE,)), "cpu", f"fake network for {model}")

    def _open(self, *_: object) -> FakeEngine:
        engine = FakeEngine(self._spec, one_person(self._spec), capacity=4)
        self.engines.append(engine)
        return engine


def one_person(spec: NetworkSpec) -> Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Give a function that sees one whole person of openpose-18 in any picture."""

    def fields(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows, columns = image.shape[0] // spec.stride, image.shape[1] // spec.stride
        y, x = np.mgrid[0:rows, 0:columns] + 0.5
        heatmaps = np.zeros((spec.heatmaps.count, rows, columns), np.float32)
        pafs = np.zeros((spec.pafs.count, rows, columns), np.float32)
        places = [(x_part * columns, y_part * rows) for x_part, y_part in _PLACES]
        for heatmap, (x_map, y_map) in zip(heatmaps, places, strict=False):
            heatmap[:] = np.exp(-((x - x_map) ** 2 + (y - y_map) ** 2) / 2)
        for (first, second), channels in zip(spec.layout.limbs, spec.layout.paf_channels, strict=True):
            limb = np.subtract(places[second], places[first])
            pafs[list(channels)] = (limb / np.hypot(*limb))[:, None, None]
        return heatmaps, pafs

    return fields


def real_network() -> dict[str, str]:
    """Give the environment of a program that shall find a real network, fetching one where there is none."""
    folders = [os.environ.get(FOLDERS_VARIABLE, ""), str(ROOT.parent / "shared" / "models")]
    environment = {**os.environ, FOLDERS_VARIABLE: os.pathsep.join(folder for folder in folders if folder)}
    store, registry = WeightStore.from_environment(environment), load_registry()
    if not any(store.locate(registry[name]) for name in ("human-pose-estimation-0001-int8", "mobilenet-thin")):
        try:
            choose("mobilenet-thin", "cpu", store, registry)
        except FetchError as error:
            pytest.skip(f"no network is here, and none can be fetched: {error}")
    return environment


def program(*words: object) -> list[str]:
    """Give the command that runs the program."""
    return [sys.executable, str(PROGRAM), *map(str, words)]


def run_program(*words: object, environment: dict[str, str], folder: Path) -> Outcome:
    """Run the program to its end."""
    done = subprocess.run(  # noqa: S603 — our own program
        program(*words), env=environment, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def messages(text: str | Path) -> list[dict[str, Any]]:
    """Read JSON lines, each of them whole."""
    lines = text.read_text("utf-8") if isinstance(text, Path) else text
    assert lines.endswith("\n") or not lines
    return [json.loads(line) for line in lines.splitlines()]


def frame_times(path: Path) -> list[float]:
    """Decode a video and give its frames' times in seconds."""
    with open_media(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0) if frame.time is not None]


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    """Decode a video into upright BGR pictures."""
    with open_media(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def write_picture(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write a picture file, and its folder where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix, image)
    path.write_bytes(data.tobytes())
    return path


def files(folder: Path) -> list[str]:
    """List a folder's files, without the hidden notes beside outputs."""
    return names(path for path in folder.iterdir() if not path.name.endswith(".made-with.json"))


def names(paths: Iterable[Path]) -> list[str]:
    """Give the names of files in order."""
    return sorted(path.name for path in paths)
