"""What people are told about the networks: one record each, for listing and for details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from posestream.models.errors import ModelError
from posestream.models.registry import IMPORT_HINT, find_network
from posestream.models.spec import Access, NetworkSpec
from posestream.models.weights import WeightStore

__all__ = ["NetworkRow", "list_networks", "network_details"]


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One network in a list for people."""

    name: str
    title: str
    #: Keypoint layout, such as `openpose-18`.
    layout: str
    licence: str
    is_restricted: bool
    devices: tuple[str, ...]
    #: Where its files are; None where they are not here.
    folder: Path | None
    #: What is wrong with the files that were found; empty where nothing is.
    problem: str
    #: How it can be had, and what stands in the way of using it.
    how: str

    @property
    def is_usable(self) -> bool:
        """True if it can be run now."""
        return self.folder is not None and not self.problem


def list_networks(store: WeightStore, registry: Mapping[str, NetworkSpec]) -> list[NetworkRow]:
    """Give a row for each network, in the registry's order."""
    return [_row(spec, store) for spec in registry.values()]


def network_details(name: str, store: WeightStore, registry: Mapping[str, NetworkSpec]) -> list[tuple[str, str]]:
    """Give labels and texts that tell all about a network.

    Raises:
        ModelError: there is no network of that name.
    """
    spec = find_network(name, registry)
    row = _row(spec, store)
    details = [
        ("name", spec.name),
        ("title", spec.title),
        ("layout", f"{spec.layout_name}: {len(spec.layout.keypoints)} keypoints, {len(spec.layout.limbs)} limbs"),
        ("keypoints", " ".join(spec.layout.keypoints)),
        ("licence", _licence(spec)),
        ("devices", ", ".join(spec.devices)),
        ("input", f"BGR, sizes in multiples of {spec.input.multiple}, {_values(spec)}"),
        ("stride", f"{spec.stride} input pixels a cell"),
        ("found", row.problem or (str(row.folder) if row.folder else f"no; looked in {store.places}")),
        ("to get it", row.how),
    ]
    return details + [(file.name, f"{file.digest} from {_origin(spec, file.source)}") for file in spec.files]


def _row(spec: NetworkSpec, store: WeightStore) -> NetworkRow:
    folder, problem = None, ""
    try:
        weights = store.locate(spec)
        folder = weights.folder if weights else None
    except ModelError as error:
        problem = str(error)
    if not problem and spec.access is Access.IMPORT:
        problem = f"a Caffe file: {IMPORT_HINT.format(spec=spec)}" if folder else ""
    return NetworkRow(
        name=spec.name,
        title=spec.title,
        layout=spec.layout_name,
        licence=spec.licence,
        is_restricted=spec.is_restricted,
        devices=spec.devices,
        folder=folder,
        problem=problem,
        how=_how(spec),
    )


def _how(spec: NetworkSpec) -> str:
    command = f"posestream models fetch {spec.name}" + (" --accept-licence" if spec.is_restricted else "")
    if spec.access is Access.PACKAGE:
        return f"{command} (from the package {spec.package})"
    if spec.access is Access.IMPORT:
        return f"{command}, then {IMPORT_HINT.format(spec=spec)}"
    if spec.access is Access.LOCAL:
        return "it was made on this machine"
    return command


def _licence(spec: NetworkSpec) -> str:
    address = f" ({spec.licence_url})" if spec.licence_url else ""
    return f"{spec.licence}{address}{', asks for consent' if spec.is_restricted else ''}"


def _values(spec: NetworkSpec) -> str:
    scale, shift = spec.input.scale, spec.input.shift
    return "values 0…255" if (scale, shift) == (1.0, 0.0) else f"values · {scale:g} {shift:+g}"


def _origin(spec: NetworkSpec, source: str) -> str:
    return f"{spec.package}, {source}" if spec.access is Access.PACKAGE else source
