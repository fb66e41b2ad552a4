"""From a float network to one in int8: rounded, the worst layers left in float, judged at the gate, and registered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.choice import Store
from posestream.models.folders import models_cache
from posestream.models.importers.record import check_free
from posestream.models.quantize.entry import Made, install_int8
from posestream.models.quantize.equalize import equalized
from posestream.models.quantize.network import FloatNetwork, convolutions
from posestream.models.quantize.sensitivity import Harm, harm_of_layers
from posestream.models.quantize.tool import load_nncf, round_network
from posestream.models.registry import find_network
from posestream.models.spec import NetworkSpec
from posestream.pipeline.quantize.agreement import Agreement, agreement
from posestream.pipeline.quantize.candidate import Candidate, speeds_of
from posestream.pipeline.quantize.frames import Frames, check_recorded, evenly, sample_frames
from posestream.pipeline.quantize.gate import Limits
from posestream.pipeline.quantize.speed import Speeds
from posestream.stages.errors import SourceError
from posestream.stages.items import NetInput, Poses

__all__ = ["Outcome", "QuantizePlan", "quantize"]

#: What is left of the harm, of all layers together, from one attempt to the next.
_LEFT_HARM = (0.25, 0.1, 0.05, 0.025, 0.0125)
#: Frames that layers are judged by: what one layer does shows in few of them.
_HARM_FRAMES = 6
#: Frames that attempts are judged by. They are of the calibration, for the gate's own are for the gate alone.
_CHOICE_FRAMES = 40
#: Frames of which the sizes of channels are taken.
_EQUAL_FRAMES = 30


@dataclass(frozen=True, slots=True)
class QuantizePlan:
    """What is to be quantised, with what, and when it is good."""

    model: str
    #: What the result is to be called.
    name: str
    #: Videos and folders of pictures.
    urls: tuple[str, ...]
    #: Frames that are sampled of them; a third is held back.
    frames: int
    net_height: int
    #: How many layers stay in float; None: as few as the limits allow.
    keep_float: int | None
    limits: Limits
    #: Turns of the speed test.
    rounds: int
    overwrite: bool = False
    #: The folder of networks; None is the cache.
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it."""

    name: str
    #: Layers that are in float, the worst first, of how many.
    in_float: tuple[str, ...]
    layers: int
    #: How many frames.
    calibration: int
    held_back: int
    seen: Agreement
    speeds: Speeds
    #: What the gate has against it; it is in the registry if that is nothing.
    faults: tuple[str, ...]


def quantize(
    plan: QuantizePlan, store: Store, registry: Mapping[str, NetworkSpec], tell: Callable[[str], None]
) -> Outcome:
    """Quantise a network, and put the result into the registry if it passes the gate.

    Args:
        plan: what is wanted.
        store: where the network's files are.
        registry: the networks by name.
        tell: hears what is going on, a line each.

    Raises:
        ModelError: the network or NNCF is not here, the network cannot be quantised, or the name is taken.
        EngineError: OpenVINO cannot run the network.
        SettingsError: a source is live.
        SourceError: the frames cannot be had, or nobody is in them.
    """
    check_recorded(plan.urls)
    load_nncf()
    folder = plan.folder or models_cache()
    check_free(plan.name, folder, plan.overwrite)
    spec = find_network(plan.model, registry)
    weights = store.locate(spec) or store.fetch(spec)
    network = FloatNetwork.read(spec, weights)
    tell(f"sampling {plan.frames} frames")
    frames = sample_frames(plan.urls, plan.frames, plan.net_height, spec.input.multiple)
    with tempfile.TemporaryDirectory(prefix="posestream-int8-") as scratch:
        work = _Work(plan, network, Candidate(spec, weights), frames, Path(scratch), tell)
        model, candidate, in_float = work.best()
        outcome = work.judged(candidate, in_float)
    if not outcome.faults:
        made = Made(plan.name, spec, " ".join(Path(url).name for url in plan.urls), _told(outcome))
        install_int8(made, model, folder, plan.overwrite)
    return outcome


def _told(outcome: Outcome) -> str:
    """Give what the registry tells of the result."""
    gains = ", ".join(f"{ratio:.2f} × {precision}" for precision, ratio in outcome.speeds.speedups.items())
    return (
        f"int8, {len(outcome.in_float)} of {outcome.layers} layers in float; "
        f"finds {outcome.seen.recall:.1%} of its keypoints, speed {gains} where it was made"
    )


class _Work:
    """One network on its way to int8."""

    def __init__(
        self,
        plan: QuantizePlan,
        network: FloatNetwork,
        original: Candidate,
        frames: Frames,
        scratch: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._network = network
        self._spec = network.spec
        self._original = original
        self._frames = frames
        self._scratch = scratch
        self._tell = tell
        self._inputs = [network.taken(each.image) for each in frames.calibration]
        self._held_back = self._truth(frames.held_back, "the frames that were held back")
        tell("making channels alike")
        self._model = equalized(network.model, self._inputs[:_EQUAL_FRAMES])
        self._layers = len(convolutions(self._model))

    def best(self) -> tuple[Any, Candidate, tuple[str, ...]]:
        """Give the network with as few layers in float as will do, or the last one that was tried."""
        keep_float = self._plan.keep_float
        if keep_float is not None:
            return self._attempt(self._worst(keep_float))
        attempt = self._attempt(())
        chosen = evenly(self._frames.calibration, _CHOICE_FRAMES)
        truth = self._truth(chosen, "the frames")
        if not self._faults(attempt[1], chosen, truth):
            return attempt
        harms = self._harms(attempt[0])
        tried = 0
        for left in _LEFT_HARM:
            in_float = _worst_until(harms, left)
            if len(in_float) == tried:
                continue
            tried = len(in_float)
            attempt = self._attempt(in_float)
            if not self._faults(attempt[1], chosen, truth):
                break
        return attempt

    def judged(self, candidate: Candidate, in_float: tuple[str, ...]) -> Outcome:
        """Hold a network against the limits, on frames that nothing of it was made of."""
        held_back = self._frames.held_back
        seen = _agreement(self._held_back, candidate.poses(held_back), held_back)
        self._tell("measuring speeds")
        speeds = speeds_of(candidate, self._original, held_back[0], self._plan.rounds)
        limits = self._plan.limits
        return Outcome(
            self._plan.name,
            in_float,
            self._layers,
            len(self._frames.calibration),
            len(held_back),
            seen,
            speeds,
            (*limits.sees(seen), *limits.gains(speeds)),
        )

    def _attempt(self, in_float: tuple[str, ...]) -> tuple[Any, Candidate, tuple[str, ...]]:
        self._tell(f"rounding {self._layers - len(in_float)} of {self._layers} layers to int8")
        model = round_network(self._model, self._inputs, in_float)
        return model, Candidate.written(model, self._spec, self._scratch), in_float

    def _faults(self, candidate: Candidate, frames: tuple[NetInput, ...], truth: list[Poses]) -> list[str]:
        seen = _agreement(truth, candidate.poses(frames), frames)
        faults = self._plan.limits.tightened().sees(seen)
        self._tell(f"finds {seen.recall:.1%}, of its own {seen.precision:.1%}, {seen.rms_net:.2f} network pixels off")
        return faults

    def _harms(self, rounded: Any) -> list[Harm]:
        self._tell(f"rounding each of {self._layers} layers alone, to find those that suffer by it")
        images = [each.image for each in evenly(self._frames.calibration, _HARM_FRAMES)]
        inputs = [self._network.taken(image) for image in _of_one_size(images)]
        return harm_of_layers(self._network, self._model, rounded, inputs)

    def _worst(self, count: int) -> tuple[str, ...]:
        if not count:
            return ()
        rounded = round_network(self._model, self._inputs, is_corrected=False)
        return tuple(harm.layer for harm in self._harms(rounded)[:count])

    def _truth(self, frames: tuple[NetInput, ...], what: str) -> list[Poses]:
        """Give what the float network sees."""
        poses = self._original.poses(frames, "f32")
        if not any(each.people for each in poses):
            raise SourceError(f"{self._spec.name} sees nobody in {what}: give a video or pictures with people in them")
        return poses


def _worst_until(harms: list[Harm], left: float) -> tuple[str, ...]:
    """Give the fewest layers without which no more than a part of the harm is left."""
    noise = np.array([harm.noise for harm in harms])
    rest = noise.sum() - np.cumsum(noise)
    count = int(np.argmax(rest <= left * noise.sum())) + 1
    return tuple(harm.layer for harm in harms[:count])


def _of_one_size(images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Pad pictures to the size of the largest, as the letterbox does, so that a network is compiled only once."""
    height, width = (max(sizes) for sizes in zip(*(image.shape[:2] for image in images), strict=True))
    return [np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))) for image in images]


def _agreement(truth: list[Poses], poses: list[Poses], frames: tuple[NetInput, ...]) -> Agreement:
    scales = (frame.transform.scale_y for frame in frames)
    return agreement(zip(truth, poses, scales, strict=True))
