"""An imported network's place among this user's networks: its file and its record, both there or neither."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from posestream.models.errors import ModelError
from posestream.models.registry import RECORD, check_name, packaged_registry, parse_registry
from posestream.models.spec import InputSpec, NetworkSpec, OutputSpec

__all__ = ["Origin", "Record", "digest_of", "install", "known_origin"]

#: What can run a network in ONNX whose numbers are floats.
ONNX_DEVICES = ("cpu", "intel-gpu", "npu", "opencv-cpu", "opencv-cuda", "ort-cpu", "cuda", "tensorrt")
#: Bytes read at a time.
_CHUNK = 1 << 20


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

    def to_toml(self, file_name: str, digest: str, size_bytes: int) -> str:
        """Write it in the registry's format."""
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
        file = {"name": file_name, "digest": digest, "size_bytes": size_bytes, "source": self.source}
        return f"[[network]]\n{_table(entry)}\n[[network.files]]\n{_table(file)}"


def install(name: str, make: Callable[[Path], Record], folder: Path, overwrite: bool = False) -> NetworkSpec:
    """Make a network's file and put it with its record into a folder of its own.

    Args:
        name: what it is to be called.
        make: writes the ONNX file to the path that it is given, and gives what is to be told of it.
        folder: the folder of networks, which gets a folder NAME.
        overwrite: replaces a network of this name that was imported before.

    Raises:
        ModelError: the name is taken, the record contradicts itself, or nothing can be written there.
    """
    check_name(name)
    target = folder / name
    if (target / RECORD).exists() and not overwrite:
        raise ModelError(f"{name} was imported before, to {target}: --overwrite, or choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the target, because files can only be renamed within their file system.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".importing-") as scratch:
            file = Path(scratch, f"{name}.onnx")
            record = make(file)
            text = record.to_toml(file.name, digest_of(file), file.stat().st_size)
            spec = parse_registry(text)[name]
            Path(scratch, RECORD).write_text(text, "utf-8")
            target.mkdir(exist_ok=True)
            # The record goes first and comes last, so that it never stands beside another file than its own.
            (target / RECORD).unlink(missing_ok=True)
            for each in (file.name, RECORD):
                os.replace(Path(scratch, each), target / each)  # noqa: PTH105 - the word says what happens
    except OSError as error:
        raise ModelError(
            f"cannot write to {folder} ({error.strerror or error}): free space or choose another"
        ) from error
    return spec


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
