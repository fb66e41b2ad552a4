"""`models quantize`: int8 from the user's own pictures, if it still sees what the float network sees, and is faster."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posestream.models.errors import ModelError
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.commands.console import show_table, standard_output
from posestream.pipeline.logs import set_up_logging
from posestream.pipeline.quantize.gate import Limits
from posestream.pipeline.quantize.quantize import Outcome, QuantizePlan, quantize

__all__ = ["quantize_command"]

_DEFAULT = Limits()
_PART = click.FloatRange(0, 1)


class _KeepFloat(click.ParamType[int | None]):
    """A number of layers, or "auto"."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Give the number; None for "auto"."""
        if value is None or value == "auto":
            return None
        if not str(value).isdecimal():
            self.fail(f"{value!r} is neither auto nor a number of layers", param, ctx)
        return int(value)


@click.command("quantize")
@click.argument("network", metavar="NAME")
@click.option(
    "--video", "videos", multiple=True, metavar="FILE", help="A video with people in it; several are allowed."
)
@click.option("--images", "images", multiple=True, metavar="DIR", help="A folder of pictures with people in them.")
@click.option("--name", help="What the result is to be called.  [default: NAME-int8]")
@click.option("--net-height", type=click.IntRange(64, 4096), default=256, show_default=True, help="As `run` will have.")
@click.option(
    "--frames", type=click.IntRange(12), default=150, show_default=True, help="Sampled evenly; a third is held back."
)
@click.option(
    "--keep-float",
    type=_KeepFloat(),
    default="auto",
    show_default=True,
    help="Layers that stay in float, those that suffer most; auto: as few as the limits allow.",
)
@click.option(
    "--least-recall",
    type=_PART,
    default=_DEFAULT.least_recall,
    show_default=True,
    help="Part of the float network's keypoints that int8 must find too, 0 to 1.",
)
@click.option(
    "--least-precision",
    type=_PART,
    default=_DEFAULT.least_precision,
    show_default=True,
    help="Part of int8's keypoints that the float network must find too, 0 to 1.",
)
@click.option(
    "--most-rms-net",
    type=click.FloatRange(0, min_open=True),
    default=_DEFAULT.most_rms_net,
    show_default=True,
    help="How far its keypoints may be off (root mean square), in pixels of the network's input.",
)
@click.option(
    "--least-speedup",
    type=click.FloatRange(0),
    default=_DEFAULT.least_speedup,
    show_default=True,
    help="Times as fast as float, and as bf16 where the processor has it, that it must be.",
)
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Turns of the speed test.")
@click.option("--overwrite", is_flag=True, help="Replace a network of this name that was made here before.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--quiet", "-q", is_flag=True, help="No word of what is going on.")
def quantize_command(
    network: str, videos: tuple[str, ...], images: tuple[str, ...], is_json: bool, quiet: bool, **options: Any
) -> None:
    """Make an int8 network of NAME from your own pictures, for this kind of processor.

    It becomes a network of the registry only if, on frames that were held back, it finds what the float network finds,
    and if it is faster; else the exit code is 4 and nothing is left behind. Needs pip install 'posestream[quantize]'.
    """
    if not videos and not images:
        raise click.UsageError("give --video FILE or --images DIR: what people look like where it is to be used")
    console = Console(stderr=True)
    set_up_logging(console, "text", is_quiet=quiet, is_debugging=False)
    limits = Limits(**{each.name: options.pop(each.name) for each in fields(Limits)})
    name = options.pop("name") or f"{network}-int8"
    plan = QuantizePlan(network, name, (*videos, *images), limits=limits, **options)

    def tell(text: str) -> None:
        if not quiet:
            console.print(Text(text))

    outcome = quantize(plan, WeightStore.from_environment(), load_registry(), tell)
    _print(outcome, limits, is_json)
    if outcome.faults:
        raise ModelError(f"{name} is not kept: {'; '.join(outcome.faults)}")


def _print(outcome: Outcome, limits: Limits, is_json: bool) -> None:
    """Print what was measured, whether it was good enough or not."""
    if is_json:
        click.echo(json.dumps(_report(outcome)))
        return
    seen = outcome.seen
    rows = [
        ("layers in float", f"{len(outcome.in_float)} of {outcome.layers}", ""),
        ("frames", f"{outcome.calibration}, and {outcome.held_back} held back", ""),
        ("keypoints of float found", f"{seen.recall:.1%} of {seen.keypoints}", f"least {limits.least_recall:.1%}"),
        ("its own that float finds", f"{seen.precision:.1%} of {seen.others}", f"least {limits.least_precision:.1%}"),
        (
            "distance, root mean square",
            f"{seen.rms_net:.2f} network pixels ({seen.rms_px:.2f} of the source)",
            f"most {limits.most_rms_net:g}",
        ),
    ]
    for precision, fps in outcome.speeds.fps.items():
        ratio = outcome.speeds.speedups.get(precision)
        told = "" if ratio is None else f": int8 is {ratio:.2f} times as fast"
        rows.append((f"speed, {precision}", f"{fps:.1f} fps{told}", f"least {limits.least_speedup:g}" if told else ""))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_column()
    for row in rows:
        table.add_row(*row)
    with standard_output() as output:
        show_table(output, table, least_columns=72)
        if not outcome.faults:
            output.print(Text(f"{outcome.name}: kept; run --model {outcome.name}"))


def _report(outcome: Outcome) -> dict[str, Any]:
    """Give what `--json` prints."""
    seen = outcome.seen
    return {
        "name": outcome.name,
        "is_kept": not outcome.faults,
        "faults": list(outcome.faults),
        "layers": outcome.layers,
        "in_float": list(outcome.in_float),
        "calibration_frames": outcome.calibration,
        "held_back_frames": outcome.held_back,
        "keypoints": seen.keypoints,
        "recall": round(seen.recall, 4),
        "precision": round(seen.precision, 4),
        "rms_net": round(seen.rms_net, 3),
        "rms_px": round(seen.rms_px, 3),
        "fps": {name: round(fps, 2) for name, fps in outcome.speeds.fps.items()},
        "speedup": {name: round(ratio, 3) for name, ratio in outcome.speeds.speedups.items()},
    }
