"""The networks that posestream knows: reads and checks registry.toml, and the records of imported networks."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol

from posestream.models.errors import ModelError
from posestream.models.folders import models_cache, named_folders
from posestream.models.layout import LAYOUTS
from posestream.models.spec import DEVICE_FAMILIES, Access, FileSpec, InputSpec, NetworkSpec, OutputSpec
from posestream.models.typed import typed

__all__ = [
    "IMPORT_HINT",
    "RECORD",
    "Registry",
    "check_maps",
    "check_name",
    "find_network",
    "load_registry",
    "packaged_registry",
    "parse_registry",
]

#: The file beside an imported network that has its record, in the form of registry.toml.
RECORD = "network.toml"
#: What makes a network of Caffe's usable, with its `spec`.
IMPORT_HINT = (
    "posestream models import --name {spec.name} --layout {spec.layout_name} --prototxt FILE --caffemodel FILE"
)

#: No network's input grows in larger steps, in pixels.
_LARGEST_MULTIPLE = 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha1:[0-9a-f]{40}|md5:[0-9a-f]{32}")
#: Letters of a name, which is that of a folder and, with more at its end, of files: file systems take 255 bytes.
_LONGEST_NAME = 100
#: What leaves the choice of a network to posestream.
_AUTO = "auto"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Registry(dict[str, NetworkSpec]):
    """Networks by name, and what is wrong with the records that could not be read."""

    def __init__(self, networks: Mapping[str, NetworkSpec]) -> None:
        super().__init__(networks)
        #: One line each, by the names of the folders that they stand in.
        self.damaged: dict[str, str] = {}


def load_registry(folders: Sequence[Path] | None = None) -> Registry:
    """Give all networks by name: those that posestream comes with, in the order of preference, then imported ones.

    An imported network takes the place of an entry of its name that says how to import it. A record that is damaged, or
    has the name of a network that needs no import, keeps nobody from the others: `find_network` tells of it.

    Args:
        folders: where imported networks are, in a folder each; by default those of the user's environment.

    Raises:
        ModelError: the file that comes with posestream is damaged.
    """
    registry = Registry(packaged_registry())
    searched = (*named_folders(), models_cache()) if folders is None else tuple(folders)
    # The first folder that has a network wins, as for its files.
    for folder in reversed(searched):
        for path in sorted(folder.glob(f"*/{RECORD}")):
            name = path.parent.name
            try:
                registry[name] = _imported(path)
                registry.damaged.pop(name, None)
            except ModelError as error:
                registry.damaged[name] = str(error)
    return registry


def check_name(name: str) -> None:
    """Make sure that an imported network may have a name.

    Raises:
        ModelError: it is no name, or belongs to a network that needs no import.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f"network name {name!r}: use lower-case letters, digits, '.', '_' and '-'")
    if len(name) > _LONGEST_NAME:
        raise ModelError(f"network name {name[:20]}…: use at most {_LONGEST_NAME} letters")
    if name == _AUTO:
        raise ModelError(
            f"network name {name!r}: --model {name} chooses a network by itself, so that none is called so"
        )
    known = packaged_registry().get(name)
    if known is not None and known.access is not Access.IMPORT:
        raise ModelError(f"{name} is the name of a network that posestream comes with: choose another one")


def _imported(path: Path) -> NetworkSpec:
    """Read an imported network's record."""
    try:
        specs = list(parse_registry(path.read_text("utf-8")).values())
        if [spec.name for spec in specs] != [path.parent.name] or specs[0].access is not Access.LOCAL:
            raise ModelError(f"it is no record of {path.parent.name}")
        check_name(specs[0].name)
    except (OSError, UnicodeDecodeError, ModelError) as error:
        raise ModelError(f"{path} is damaged ({error}): delete {path.parent} and import it again") from error
    return specs[0]


def packaged_registry() -> dict[str, NetworkSpec]:
    """Read the registry that comes with posestream, by network name, in the order of preference.

    Raises:
        ModelError: the file is damaged.
    """
    text = resources.files("posestream.models").joinpath("registry.toml").read_text("utf-8")
    return parse_registry(text)


def find_network(name: str, registry: Mapping[str, NetworkSpec]) -> NetworkSpec:
    """Give the network of that name.

    Raises:
        ModelError: there is none; the text names the nearest one. Or its record is damaged.
    """
    if isinstance(registry, Registry) and name in registry.damaged:
        raise ModelError(registry.damaged[name])
    if name in registry:
        return registry[name]
    # Those that need an importer cannot be used by who mistook a name.
    usable = [known for known, spec in registry.items() if spec.access is not Access.IMPORT]
    near = difflib.get_close_matches(name, usable, n=1, cutoff=0.3)
    # Unless that is plainly the one that was meant.
    near = difflib.get_close_matches(name, registry, n=1, cutoff=0.8) or near
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(registry)}"
    raise ModelError(f"unknown network {name!r}: {hint}")


def parse_registry(text: str) -> dict[str, NetworkSpec]:
    """Read a registry from TOML.

    Raises:
        ModelError: it is not TOML, or an entry is wrong; the text says which and how.
    """
    try:
        entries = tomllib.loads(text).get("network", [])
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"the registry of networks is damaged: {error}") from error
    if not isinstance(entries, list):
        raise ModelError(f"the registry of networks is damaged: network is {entries!r} instead of a list of tables")
    registry: dict[str, NetworkSpec] = {}
    for entry in entries:
        name = str(entry.get("name")) if isinstance(entry, dict) else ""
        try:
            spec = typed(NetworkSpec, entry)
            _check(spec)
            if spec.name in registry:
                raise ValueError("appears twice")
        except ValueError as error:
            raise ModelError(f"the registry's network {name!r} is wrong: {error}") from error
        registry[spec.name] = spec
    return registry


class Described(Protocol):
    """What is told of a network beside its files."""

    @property
    def layout_name(self) -> str:
        """The keypoint layout's name."""

    @property
    def input(self) -> InputSpec:
        """What it takes."""

    @property
    def heatmaps(self) -> OutputSpec:
        """The heatmaps' channels."""

    @property
    def pafs(self) -> OutputSpec:
        """The part affinity fields' channels."""

    @property
    def stride(self) -> int:
        """Input pixels per cell."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Families that can run it."""


def check_maps(spec: Described) -> None:
    """Make sure that what a network takes and gives is possible, and fits its layout.

    Raises:
        ValueError: it does not; the text names the key.
    """
    if spec.layout_name not in LAYOUTS:
        raise ValueError(f"layout_name: unknown layout {spec.layout_name!r}; known are: {', '.join(LAYOUTS)}")
    if not spec.devices:
        raise ValueError("it needs devices")
    if unknown := [device for device in spec.devices if device not in DEVICE_FAMILIES]:
        raise ValueError(f"devices: {unknown[0]!r} is none of {', '.join(DEVICE_FAMILIES)}")
    if spec.input.scale == 0 or not math.isfinite(spec.input.scale) or not math.isfinite(spec.input.shift):
        raise ValueError(
            f"input: value · {spec.input.scale:g} {spec.input.shift:+g} leaves nothing of a picture: give other numbers"
        )
    if not 1 <= spec.input.multiple <= _LARGEST_MULTIPLE:
        raise ValueError(f"input.multiple is {spec.input.multiple} instead of 1 to {_LARGEST_MULTIPLE}")
    if spec.stride < 1 or spec.input.multiple % spec.stride:
        raise ValueError(
            f"stride, input.multiple: sizes in multiples of {spec.input.multiple} are no whole cells of {spec.stride}"
        )
    _check_channels(spec)


def _check(spec: NetworkSpec) -> None:
    """Raise ValueError where the parts of an entry contradict each other."""
    if not _NAME.fullmatch(spec.name):
        raise ValueError("a name has lower-case letters, digits, '.', '_' and '-'")
    if not spec.files:
        raise ValueError("it needs files")
    for file in spec.files:
        _check_file(spec, file)
    check_maps(spec)
    if (spec.access is Access.PACKAGE) != bool(spec.package):
        raise ValueError("'package' goes with access = \"package\" and no other")


def _check_file(spec: NetworkSpec, file: FileSpec) -> None:
    if not _DIGEST.fullmatch(file.digest):
        raise ValueError(f"{file.name}: {file.digest!r} is no sha256:, sha1: or md5: digest")
    if "/" in file.name or "\\" in file.name:
        raise ValueError(f"{file.name}: a file's name has no folder")
    if spec.access is Access.LOCAL and file.source:
        return
    is_address = file.source.startswith(("https://", "http://"))
    if not file.source or is_address == (spec.access is Access.PACKAGE):
        raise ValueError(f"{file.name}: source {file.source!r} does not fit access {spec.access.value!r}")


def _check_channels(spec: Described) -> None:
    layout = LAYOUTS[spec.layout_name]
    expected = (("heatmaps", spec.heatmaps, layout.heatmap_count), ("pafs", spec.pafs, layout.paf_count))
    for key, output, count in expected:
        if output.count != count:
            raise ValueError(f"{key}.count: layout {spec.layout_name} has {count} channels, not {output.count}")
        if output.first < 0:
            raise ValueError(f"{key}.first is {output.first}: channels are counted from 0")
    if spec.heatmaps.layout is not spec.pafs.layout:
        raise ValueError("heatmaps.layout and pafs.layout are different axes")
    first, second = sorted((spec.heatmaps, spec.pafs), key=lambda output: output.first)
    if first.tensor == second.tensor and first.first + first.count > second.first:
        raise ValueError(f"{first.tensor}: heatmaps and PAFs overlap")
