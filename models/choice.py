"""Chooses the network and the device, and says why: `auto` takes the fastest network that can be had here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from posestream.models.download import Patience, Progress, ignore_progress
from posestream.models.engines import AUTO_FAMILIES, check_device, device_family, devices_of, is_simulated, obstacle
from posestream.models.errors import EngineError, FetchError, ModelError
from posestream.models.registry import IMPORT_HINT, find_network
from posestream.models.spec import Access, NetworkSpec
from posestream.models.weights import Weights

__all__ = ["AUTO", "AUTO_NETWORKS", "Choice", "Store", "choose"]

#: Leaves the choice to this file.
AUTO = "auto"
#: What `auto` may take, the fastest first.
AUTO_NETWORKS = ("human-pose-estimation-0001-int8", "mobilenet-thin")
#: For a better network than the one at hand: every start on a machine without a way to it waits this long.
_SHORT_PATIENCE = Patience(connect_s=2.0, read_s=10.0, retries=1)


class Store(Protocol):
    """What a choice needs of a WeightStore."""

    @property
    def places(self) -> str:
        """Where it looks, for people."""

    def locate(self, spec: NetworkSpec) -> Weights | None:
        """Find a network's files on this machine."""

    def fetch(
        self,
        spec: NetworkSpec,
        accept_licence: bool = False,
        progress: Progress = ignore_progress,
        patience: Patience | None = None,
    ) -> Weights:
        """Fetch a network's files."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A network, its files and the device to run it on."""

    spec: NetworkSpec
    weights: Weights
    device: str
    #: One line for people: what was chosen and why.
    reason: str


def choose(
    model: str,
    device: str,
    store: Store,
    registry: Mapping[str, NetworkSpec],
    progress: Progress = ignore_progress,
) -> Choice:
    """Choose by name or `auto`, and fetch what is missing.

    A network that was named is used or fails; only `auto` goes on to the next one. Networks under a restricted
    licence are never fetched here.

    Raises:
        ModelError: the network is unknown, cannot be had, or is damaged.
        EngineError: the device is unknown or cannot run the network.
    """
    if device == AUTO:
        device, why = _best_device(model, registry)
        choice = choose(model, device, store, registry, progress)
        return dataclasses.replace(choice, reason=f"{choice.reason}; {why}")
    if is_simulated(device):
        return _choose_simulated(find_network(AUTO_NETWORKS[0] if model == AUTO else model, registry), device)
    family = device_family(device)
    if model == AUTO:
        return _choose_auto(device, family, store, registry, progress)
    return _choose_named(find_network(model, registry), device, family, store, progress)


def _best_device(model: str, registry: Mapping[str, NetworkSpec]) -> tuple[str, str]:
    """Give the first device of `AUTO_FAMILIES` that is here and can run the network, and why not one before it."""
    able = None if model == AUTO else find_network(model, registry).devices
    passed_over = []
    for family in AUTO_FAMILIES:
        if able is not None and family not in able:
            passed_over.append(f"{family} cannot run {model}")
        elif found := devices_of(family):
            why = f"since {' and '.join(passed_over)}" if passed_over else "the first in the order of auto"
            return found[0], f"the device is {found[0]}, {why}"
        else:
            passed_over.append(obstacle(family) or f"no {family} is here")
    raise EngineError(f"no device for auto: {', '.join(passed_over)}: name another one with --device")


def _choose_simulated(spec: NetworkSpec, device: str) -> Choice:
    """Take the network's name and sizes alone: no file of it is needed."""
    check_device(device)
    return Choice(spec, Weights(spec, ()), device, f"{spec.name} is not run: {device} only pretends")


def _choose_named(spec: NetworkSpec, device: str, family: str, store: Store, progress: Progress) -> Choice:
    if spec.access is Access.IMPORT:
        raise ModelError(f"{spec.name} comes as a Caffe file: {IMPORT_HINT.format(spec=spec)}")
    if family not in spec.devices:
        raise EngineError(f"device {device} cannot run {spec.name}: choose one of {', '.join(spec.devices)}")
    found = store.locate(spec)
    if found is not None:
        return Choice(spec, found, device, f"{spec.name} on {device}, as asked, from {found.folder}")
    fetched = store.fetch(spec, progress=progress)
    return Choice(spec, fetched, device, f"{spec.name} on {device}, as asked, fetched to {fetched.folder}")


def _choose_auto(
    device: str, family: str, store: Store, registry: Mapping[str, NetworkSpec], progress: Progress
) -> Choice:
    """Take the first network that the device can run and that is here or can be fetched."""
    specs = [registry[name] for name in AUTO_NETWORKS if name in registry]
    able = [spec for spec in specs if family in spec.devices]
    passed_over = [f"{device} cannot run {spec.name}" for spec in specs if spec not in able]
    for number, spec in enumerate(able):
        weights = store.locate(spec)
        if weights is None:
            is_dispensable = any(store.locate(other) for other in able[number + 1 :])
            try:
                weights = store.fetch(spec, progress=progress, patience=_SHORT_PATIENCE if is_dispensable else None)
            except ModelError as error:
                reason = error.reason if isinstance(error, FetchError) else str(error)
                passed_over.append(f"{spec.name} is not here, {reason}")
                continue
        why = "; ".join(passed_over) or "the fastest that it can run"
        return Choice(spec, weights, device, f"{spec.name} on {device} from {weights.folder}: {why}")
    raise ModelError(
        f"no network for device {device}: {'; '.join(passed_over)}; looked in {store.places}: "
        "name a folder that has one in POSESTREAM_MODELS"
    )
