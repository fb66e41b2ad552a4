"""`models import`: makes networks in other formats usable, Caffe's above all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from posestream.models.importers import Wanted, import_caffe, import_graph, import_onnx
from posestream.models.layout import LAYOUTS
from posestream.models.spec import NetworkSpec
from posestream.pipeline.commands.console import standard_output

__all__ = ["import_command"]

#: The layout of most networks.
_DEFAULT_LAYOUT = "openpose-18"
_FILE = click.Path(path_type=Path)


@click.command("import")
@click.option("--name", required=True, help="What the network is to be called.")
@click.option("--layout", type=click.Choice(list(LAYOUTS)), help="Its keypoints.  [default: openpose-18]")
@click.option("--prototxt", type=_FILE, help="Caffe: the layers.")
@click.option("--caffemodel", type=_FILE, help="Caffe: the weights.")
@click.option("--graph", type=_FILE, help="A frozen graph (.pb), or OpenVINO's IR (.xml, with its .bin beside it).")
@click.option("--onnx", type=_FILE, help="An ONNX file of your own.")
@click.option("--spec", type=_FILE, help="ONNX: what it takes and gives, in TOML (configs/networks/own_onnx.toml).")
@click.option("--scale", type=float, help="The network takes value·SCALE + SHIFT of 0…255.  [Caffe: 1/256]")
@click.option("--shift", type=float, help="See --scale.  [Caffe: -0.5]")
@click.option("--licence", help="Its licence, where the files are not known here.")
@click.option("--overwrite", is_flag=True, help="Replace a network of this name that was imported before.")
@click.option("--quiet", "-q", is_flag=True, help="Only errors.")
def import_command(quiet: bool, **options: Any) -> None:
    """Import a network: Caffe's two files, a frozen graph, OpenVINO's IR, or an ONNX file of your own."""
    spec = _import(options)
    if not quiet:
        with standard_output() as output:
            licence = f"{spec.licence}{' (asks for consent)' if spec.is_restricted else ''}"
            told = f"{spec.layout_name}, stride {spec.stride}, for {', '.join(spec.devices)}; licence: {licence}"
            output.print(Text(f"{spec.name}: {told}"))


def _import(options: dict[str, Any]) -> NetworkSpec:
    """Choose the importer by the files that were given."""
    files = {key: options[key] for key in ("prototxt", "caffemodel", "graph", "onnx", "spec") if options[key]}
    said = {key: options[key] for key in ("layout", "scale", "shift", "licence") if options[key] is not None}
    wanted = Wanted(
        options["name"],
        said.get("layout", _DEFAULT_LAYOUT),
        said.get("scale"),
        said.get("shift"),
        said.get("licence", ""),
        options["overwrite"],
    )
    if files.keys() == {"prototxt", "caffemodel"}:
        return import_caffe(wanted, files["prototxt"], files["caffemodel"])
    if files.keys() == {"graph"}:
        graph: Path = files["graph"]
        return import_graph(wanted, (graph, graph.with_suffix(".bin")) if graph.suffix == ".xml" else (graph,))
    if files.keys() == {"onnx", "spec"}:
        if said:
            raise click.UsageError(f"the spec file says what {' '.join(f'--{key}' for key in said)} would say")
        return import_onnx(wanted, files["onnx"], files["spec"])
    raise click.UsageError(
        "give --prototxt and --caffemodel, or --graph, or --onnx and --spec"
        + (f", not {' '.join(f'--{key}' for key in files)} alone" if files else "")
    )
