"""A network in int8 that is not in the registry yet: its files in a folder of their own, and what it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posestream.models.engines.base import Engine
from posestream.models.engines.openvino import OpenVinoEngine
from posestream.models.errors import EngineError
from posestream.models.quantize.network import save
from posestream.models.spec import FileSpec, NetworkSpec
from posestream.models.weights import Weights
from posestream.pipeline.evaluate import wait_for_one
from posestream.pipeline.quantize.speed import INT8, Speeds, measure_speeds
from posestream.stages.group.group import Group
from posestream.stages.items import FieldMaps, NetInput, Poses

__all__ = ["Candidate", "poses_of", "speeds_of"]

#: What a network is told to be measured in, where the device has it; "auto" is one of them.
_PRECISIONS = ("f32", "bf16")
#: Inferences in a turn of the speed test.
_TURN_FRAMES = 24


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network and its files."""

    spec: NetworkSpec
    weights: Weights

    @classmethod
    def written(cls, model: Any, spec: NetworkSpec, folder: Path) -> Candidate:
        """Write a network that was rounded, whose tensors are those of `spec`.

        Raises:
            ModelError: nothing can be written there.
        """
        paths = (folder / "candidate.xml", folder / "candidate.bin")
        save(model, paths[0])
        spec = dataclasses.replace(spec, files=tuple(FileSpec(path.name, "") for path in paths))
        return cls(spec, Weights(spec, paths))

    def open(self, precision: str = "auto", requests: int = 0) -> Engine:
        """Open it on this machine's processor; nothing of it is kept in the cache."""
        return OpenVinoEngine(self.spec, self.weights, "cpu", precision, requests)

    def poses(self, inputs: Iterable[NetInput], precision: str = "auto") -> list[Poses]:
        """Give each frame's people, by the pipeline's own grouping."""
        with closing(self.open(precision, 1)) as engine:
            return list(poses_of(engine, self.spec, inputs))


def poses_of(engine: Engine, spec: NetworkSpec, inputs: Iterable[NetInput]) -> Iterator[Poses]:
    """Give each frame's people in source pixels, one frame at a time."""
    group = Group(spec.layout)
    for number, given in enumerate(inputs):
        engine.prepare(*given.image.shape[:2])
        engine.submit([number], [given.image])
        done = wait_for_one(engine)
        yield group(FieldMaps(given.key, done.heatmaps_chw, done.pafs_chw, spec.stride, given.transform))


def speeds_of(candidate: Candidate, original: Candidate, given: NetInput, rounds: int) -> Speeds:
    """Measure a network in int8 in turns with the one that it was made of, in each precision of this processor."""
    with ExitStack() as closers:
        engines = {INT8: closers.enter_context(closing(candidate.open()))}
        for precision in _PRECISIONS:
            try:
                engines[precision] = closers.enter_context(closing(original.open(precision)))
            except EngineError:
                # Not every processor has bf16; float it always has.
                if precision == "f32":
                    raise
        return measure_speeds(engines, given.image, rounds, _TURN_FRAMES)
