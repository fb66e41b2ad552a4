"""An imported network's place among this user's networks: its file and its record, both there or neither."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posestream.models.errors import ModelError
from posestream.models.registry import RECORD, check_maps, check_name, packaged_registry, parse_registry
from posestream.models.spec import DEVICE_FAMILIES, InputSpec, NetworkSpec, OutputSpec

__all__ = ["Origin", "Record", "check_free", "digest_of", "install", "known_origin"]

#: What can run a network in ONNX whose numbers are floats.
ONNX_DEVICES = DEVICE_FAMILIES
#: Bytes read at a time.
_CHUNK = 1 << 20


#: What looks at a network and its files before they are installed, and gives the families of devices that run it.
Check = Callable[[NetworkSpec, Sequence[Path]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a network comes from, and what may be done with it."""

    title: str
    licence: str
    licence_url: str = ""
    is_restricted: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is told of an imported network beside its file."""

    name: str
    layout_name: str
    origin: Origin
    #: The files that it was made from, for people.
    source: str
    input: InputSpec
    heatmaps: OutputSpec
    pafs: OutputSpec
    stride: int
    devices: tuple[str, ...] = ONNX_DEVICES

    def to_toml(self, files: Sequence[Path]) -> str:
        """Write it in the registry's format, with its files' digests."""
        entry = {
            "name": self.name,
            "title": self.origin.title,
            "layout_name": self.layout_name,
            "licence": self.origin.licence,
            "licence_url": self.origin.licence_url,
            "is_restricted": self.origin.is_restricted,
            "access": "local",
            "stride": self.stride,
            "devices": list(self.devices),
            "input": {
                "layout": str(self.input.layout),
                "scale": self.input.scale,
                "shift": self.input.shift,
                "multiple": self.input.multiple,
            },
            "heatmaps": _output(self.heatmaps),
            "pafs": _output(self.pafs),
        }
        tables = [
            _table(
                {"name": file.name, "digest": digest_of(file), "size_bytes": file.stat().st_size, "source": self.source}
            )
            for file in files
        ]
        return "\n[[network.files]]\n".join([f"[[network]]\n{_table(entry)}", *tables])


def install(
    name: str,
    make: Callable[[Path], Record],
    folder: Path,
    overwrite: bool = False,
    suffix: str = ".onnx",
    check: Check | None = None,
) -> NetworkSpec:
    """Make a network's files and put them with their record into a folder of its own.

    Args:
        name: what it is to be called.
        make: writes the network to the path that it is given, with what belongs to it beside it, and gives what is to
            be told of it.
        folder: the folder of networks, which gets a folder NAME.
        overwrite: replaces a network of this name that was imported before.
        suffix: what the file's name ends with.
        check: is given the network and its files before anything is installed, tells which of the record's families
            of devices run it, and raises ModelError to refuse it.

    Raises:
        ModelError: the name is taken, the record contradicts itself, or nothing can be written there.
    """
    check_free(name, folder, overwrite)
    target = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the target, because files can only be renamed within their file system.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".importing-") as scratch:
            main = Path(scratch, f"{name}{suffix}")
            record = make(main)
            files = [main, *sorted(path for path in Path(scratch).iterdir() if path != main)]
            text = _checked(record).to_toml(files)
            spec = parse_registry(text)[name]
            if check is not None and (devices := check(spec, files)) != spec.devices:
                text = replace(record, devices=devices).to_toml(files)
                spec = parse_registry(text)[name]
            Path(scratch, RECORD).write_text(text, "utf-8")
            target.mkdir(exist_ok=True)
            # The record goes first and comes last, so that it never stands beside another file than its own.
            (target / RECORD).unlink(missing_ok=True)
            for each in (*(file.name for file in files), RECORD):
                os.replace(Path(scratch, each), target / each)  # noqa: PTH105 - the word says what happens
    except OSError as error:
        raise ModelError(
            f"cannot write to {folder} ({error.strerror or error}): free space or choose another"
        ) from error
    return spec


def _checked(record: Record) -> Record:
    """Raise ModelError where a record cannot be written, or would contradict itself."""
    try:
        check_maps(record)
    except ValueError as error:
        raise ModelError(f"{record.name}: {error}") from error
    return record


def check_free(name: str, folder: Path, overwrite: bool) -> None:
    """Make sure that a network may be put into a folder under a name.

    Raises:
        ModelError: it is no name, or the name is taken.
    """
    check_name(name)
    if (folder / name / RECORD).exists() and not overwrite:
        raise ModelError(f"{name} was made before, in {folder / name}: --overwrite, or choose another name")


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Give a file's digest as the registry writes it.

    Raises:
        ModelError: the file cannot be read.
    """
    state = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    return f"{algorithm}:{state.hexdigest()}"


def known_origin(path: Path) -> NetworkSpec | None:
    """Give the registry's network that has this very file, from which its licence is known; None where none has."""
    for spec in packaged_registry().values():
        for file in spec.files:
            if file.digest == digest_of(path, file.digest.partition(":")[0]):
                return spec
    return None


def _output(spec: OutputSpec) -> dict[str, object]:
    return {"tensor": spec.tensor, "layout": str(spec.layout), "first": spec.first, "count": spec.count}


def _table(values: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _value(value: object) -> str:
    """Write a value as TOML, whose strings, numbers, lists and booleans are written as JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
