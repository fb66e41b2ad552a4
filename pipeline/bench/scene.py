"""What `bench faults` disturbs: a clip, recorded field maps, and the messages of a run that nobody disturbed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np

from posestream.models.registry import load_registry
from posestream.pipeline.bench.program import Program
from posestream.stages.group.synthetic import planted_maps, random_people

__all__ = ["FaultRun", "Scene", "differences", "make_scene", "messages", "synthetic_differences"]

#: The network whose layout the maps have; it is never run.
_NETWORK = "human-pose-estimation-0001-int8"
_WIDTH, _HEIGHT = 456, 256
#: Frames without an end; they come again after so many.
SYNTHETIC, SYNTHETIC_PERIOD = f"synthetic:{_WIDTH}x{_HEIGHT}", 256
#: How many different maps; a frame's content chooses one, so that frames cannot be mixed up unnoticed.
_MAPS = 24
#: What another run may tell differently of the same frame.
_OF_THE_RUN = ("run", "captured_at", "published_at")
#: Longest a run may take, in seconds: a busy machine may need half a minute to load a head and its processes.
PATIENCE_S = 180.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip and what it gives."""

    clip: Path
    maps: Path
    service_ms: float
    expected: list[dict[str, Any]]
    #: What the first synthetic frames give, from which the clip was made.
    synthetic: list[dict[str, Any]]

    @property
    def device(self) -> str:
        """The device that answers with the maps."""
        return f"simulated:{self.service_ms:g}:{self.maps}"

    def words(self, output: Path, *more: object, source: object = None, replicas: int = 2) -> list[object]:
        """Give the command that runs the clip, or another source, in processes."""
        network: list[object] = ["--model", _NETWORK, "--device", self.device]
        processes: list[object] = ["--mode", "processes", "--set", f"replicas.per_device={replicas}"]
        return ["run", source or self.clip, *network, *processes, "--save-jsonl", output, "--quiet", *more]


def make_scene(folder: Path, frames: int, service_ms: float) -> Scene:
    """Make a clip and maps in a folder, and run them once undisturbed.

    Raises:
        RuntimeError: even that failed.
    """
    layout = load_registry()[_NETWORK].layout
    rng, size = np.random.default_rng(0), (_HEIGHT // 8, _WIDTH // 8)
    maps = [planted_maps(layout, random_people(layout, rng, number % 4, size), size) for number in range(_MAPS)]
    heatmaps, pafs = (np.stack(parts) for parts in zip(*maps, strict=True))
    scene = Scene(folder / "clip.mp4", folder / "maps.npz", service_ms, [], [])
    np.savez(scene.maps, heatmaps_chw=heatmaps, pafs_chw=pafs)
    limits: list[object] = ["--save-video", scene.clip, "--max-frames", frames]
    _run(folder, *scene.words(folder / "synthetic.jsonl", *limits, source=SYNTHETIC))
    output = folder / "undisturbed.jsonl"
    _run(folder, *scene.words(output))
    expected = messages(output)
    if len(expected) != frames or not any(message.get("people") for message in expected):
        raise RuntimeError(f"the undisturbed run gave {len(expected)} messages of {frames}")
    return replace(scene, expected=expected, synthetic=messages(folder / "synthetic.jsonl"))


def messages(path: Path) -> list[dict[str, Any]]:
    """Read a file of messages without what is of the run alone; a line that is cut counts as one of its own."""
    read = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            message = json.loads(line)
        except ValueError:
            message = {"cut": line}
        read.append({key: value for key, value in message.items() if key not in _OF_THE_RUN})
    return read


def differences(scene: Scene, path: Path) -> str:
    """Tell in one line how a file's messages differ from the undisturbed ones; empty if they do not."""
    found = messages(path)
    for number, (one, other) in enumerate(zip(found, scene.expected, strict=False)):
        if one != other:
            keys = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
            return f"message {number} differs in {', '.join(sorted(keys))}: {str(one)[:160]}"
    return "" if len(found) == len(scene.expected) else f"{len(found)} messages, not {len(scene.expected)}"


def synthetic_differences(scene: Scene, path: Path) -> str:
    """Tell in one line how the messages of synthetic frames differ from undisturbed ones; empty if they do not."""
    for number, message in enumerate(messages(path)):
        place = number % SYNTHETIC_PERIOD
        if message.get("seq") != number or message.get("n") != number:
            return f"message {number} is out of order: {str(message)[:160]}"
        if place < len(scene.synthetic) and message.get("people") != scene.synthetic[place]["people"]:
            return f"message {number} differs: {str(message)[:160]}"
    return ""


class FaultRun(Protocol):
    """One run of a fault: where, on what, and the chance in it."""

    @property
    def scene(self) -> Scene:
        """What is disturbed."""

    @property
    def folder(self) -> Path:
        """Where everything goes."""

    @property
    def rng(self) -> Random:
        """The chance in it."""

    @property
    def output(self) -> Path:
        """The head's messages."""

    def outcome(self, head: Program, compare: Callable[[Scene, Path], str] = differences) -> str:
        """Wait for the end and tell what is wrong with it; empty if nothing is."""

    def wait_for_results(self, head: Program, share: float = 0.8) -> str:
        """Wait for a message and some of those to come, `share` of them at most; tell what went wrong meanwhile."""


def _run(folder: Path, *words: object) -> None:
    with Program(folder, *words) as program:
        started_s = time.monotonic()
        code = program.wait(PATIENCE_S)
        if code != 0:
            raise RuntimeError(
                f"{words}: exit code {code} after {time.monotonic() - started_s:.0f} s: {program.errors}"
            )
