"""`bench …`: measurements, each of which prints one JSON object as its last line."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from posestream.pipeline.bench.measure import clip_path
from posestream.pipeline.bench.network import measure_network
from posestream.pipeline.bench.pipeline import measure_pipeline
from posestream.pipeline.commands.console import set_up_logging
from posestream.pipeline.commands.run import network_options, settings_of
from posestream.pipeline.settings import Settings

__all__ = ["bench_command"]


@click.group("bench")
def bench_command() -> None:
    """Measure this machine; the last line of standard output is one JSON object."""


def _settings(options: dict[str, Any]) -> Settings:
    set_up_logging(Console(stderr=True), "text", is_quiet=False, is_debugging=False)
    return settings_of(options)


@bench_command.command("network")
@network_options
@click.option(
    "--net-width", type=click.IntRange(64), default=456, show_default=True, help="Width of the network input."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="The median of these is told.")
@click.option("--frames", type=click.IntRange(8), default=100, show_default=True, help="Inferences in a round.")
def network_command(net_width: int, rounds: int, frames: int, **options: Any) -> None:
    """Measure the bare network, asynchronous."""
    measure_network(_settings(options), net_width, rounds, frames)


@bench_command.command("pipeline")
@click.argument("file", required=False)
@network_options
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="The median of these is told.")
def pipeline_command(file: str | None, rounds: int, **options: Any) -> None:
    """Measure the whole pipeline over FILE (or the sample clip) beside the bare network."""
    measure_pipeline(_settings(options), clip_path(file), rounds)
