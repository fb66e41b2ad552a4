"""A quantised network's entry in the registry: what it was made of, and what can run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posestream.models.importers.record import Origin, Record, install
from posestream.models.quantize.network import save
from posestream.models.spec import NetworkSpec

__all__ = ["INT8_IR_DEVICES", "Made", "install_int8"]

#: What runs OpenVINO's IR with values rounded to int8: OpenVINO, and no other engine here.
INT8_IR_DEVICES = ("cpu", "intel-gpu", "npu")


@dataclass(frozen=True, slots=True)
class Made:
    """What is told of a quantised network."""

    name: str
    #: The network that it was made of; its tensors, layout and licence stay.
    original: NetworkSpec
    #: What its ranges were taken from, for people.
    frames: str
    #: How it is, in a few words.
    told: str


def install_int8(made: Made, model: Any, folder: Path, overwrite: bool = False) -> NetworkSpec:
    """Put a network into a folder of its own, where the registry finds it.

    Raises:
        ModelError: the name is taken, or nothing can be written there.
    """
    original = made.original
    record = Record(
        made.name,
        original.layout_name,
        Origin(f"{original.name}, {made.told}", original.licence, original.licence_url, original.is_restricted),
        f"{original.name} and {made.frames}",
        original.input,
        original.heatmaps,
        original.pafs,
        original.stride,
        tuple(device for device in INT8_IR_DEVICES if device in original.devices),
    )

    def make(path: Path) -> Record:
        save(model, path)
        return record

    return install(made.name, make, folder, overwrite, ".xml")
