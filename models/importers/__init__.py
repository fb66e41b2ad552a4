"""Importers: networks in other formats than the engines read, made into ONNX files with a record each."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posestream.models.errors import ModelError
from posestream.models.folders import models_cache
from posestream.models.importers.caffe_file import read_blobs, read_prototxt
from posestream.models.importers.caffe_graph import convert_caffe
from posestream.models.importers.imported import Converted, find_maps
from posestream.models.importers.openvino_graph import convert_openvino
from posestream.models.importers.portable import made_portable
from posestream.models.importers.record import ONNX_DEVICES, Origin, Record, install, known_origin
from posestream.models.importers.spec_file import check_onnx, read_spec_file
from posestream.models.importers.trial import try_network
from posestream.models.layout import LAYOUTS
from posestream.models.spec import InputSpec, NetworkSpec, TensorLayout

__all__ = ["INT8_DEVICES", "Wanted", "import_caffe", "import_graph", "import_onnx"]

#: What CMU's networks were trained on: x/256 − 0.5.
_OPENPOSE_SCALE, _OPENPOSE_SHIFT = 1 / 256, -0.5
#: What can run a network whose numbers are rounded to int8 in ONNX's way.
INT8_DEVICES = ("cpu", "ort-cpu")
_UNKNOWN_LICENCE = "not told: as its publisher says"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user says of a network that is to be imported."""

    name: str
    layout_name: str
    #: `value · scale + shift` of 0…255 is what the network takes; None is what the format's networks usually take.
    scale: float | None = None
    shift: float | None = None
    #: The licence, where the files are not known ones.
    licence: str = ""
    overwrite: bool = False
    #: The folder of networks; None is the cache.
    folder: Path | None = None


def import_caffe(wanted: Wanted, prototxt: Path, caffemodel: Path) -> NetworkSpec:
    """Make a network of Caffe's files usable.

    Raises:
        ModelError: the files do not fit each other, the layout or what is known here; the text says which and how.
    """
    net, blobs = read_prototxt(prototxt), read_blobs(caffemodel)
    known = known_origin(caffemodel)
    return _install(
        wanted,
        (prototxt, caffemodel),
        known,
        InputSpec(TensorLayout.NCHW, _OPENPOSE_SCALE, _OPENPOSE_SHIFT),
        lambda path: convert_caffe(net, blobs, path),
    )


def import_graph(wanted: Wanted, paths: tuple[Path, ...]) -> NetworkSpec:
    """Make a network that OpenVINO reads (`.xml` with its `.bin`, or TensorFlow's `.pb`) usable as ONNX.

    Raises:
        ModelError: the files cannot be read or converted, or do not fit the layout.
    """
    known = known_origin(paths[0])
    given = dataclasses.replace(known.input, layout=TensorLayout.NCHW) if known else InputSpec(TensorLayout.NCHW)
    return _install(wanted, paths, known, given, lambda path: convert_openvino(paths, path, given.multiple))


def import_onnx(wanted: Wanted, onnx: Path, spec_file: Path) -> NetworkSpec:
    """Take an ONNX file of the user's own, with a spec file that tells what it takes and gives.

    It stays as it is, unless its numbers are such as few engines take: then they become float32.

    Raises:
        ModelError: a file cannot be read, or they do not fit each other.
    """
    record = read_spec_file(spec_file, wanted.name, onnx.name)
    model = check_onnx(onnx, record)
    is_changed = made_portable(onnx, model, record.input)

    def make(path: Path) -> Record:
        if is_changed:
            path.write_bytes(model.SerializeToString(deterministic=True))
        else:
            shutil.copyfile(onnx, path)
        return record

    return install(wanted.name, make, wanted.folder or models_cache(), wanted.overwrite, check=try_network)


def _install(
    wanted: Wanted,
    paths: tuple[Path, ...],
    known: NetworkSpec | None,
    given: InputSpec,
    convert: Callable[[Path], Converted],
) -> NetworkSpec:
    """Convert a network and record what is known of it."""
    if wanted.layout_name not in LAYOUTS:
        raise ModelError(f"unknown layout {wanted.layout_name!r}; known are: {', '.join(LAYOUTS)}")
    names = [path.name for path in paths]
    title = f"imported from {' and '.join(names)}"
    origin = Origin(title, wanted.licence or _UNKNOWN_LICENCE)
    if known is not None:
        origin = Origin(f"{known.title} ({title})", known.licence, known.licence_url, known.is_restricted)
    scale = given.scale if wanted.scale is None else wanted.scale
    shift = given.shift if wanted.shift is None else wanted.shift

    def make(path: Path) -> Record:
        converted = convert(path)
        heatmaps, pafs, stride = find_maps(LAYOUTS[wanted.layout_name], converted.tensors)
        taken = dataclasses.replace(given, scale=scale, shift=shift, multiple=max(given.multiple, stride))
        devices = INT8_DEVICES if converted.is_int8 else ONNX_DEVICES
        return Record(wanted.name, wanted.layout_name, origin, ", ".join(names), taken, heatmaps, pafs, stride, devices)

    return install(wanted.name, make, wanted.folder or models_cache(), wanted.overwrite, check=try_network)
