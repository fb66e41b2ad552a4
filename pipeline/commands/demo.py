"""`demo`: the whole pipeline over a sample clip, from nothing to a video one can look at."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from posestream.models.samples import fetch_sample
from posestream.pipeline.commands.execute import execute
from posestream.pipeline.commands.fetching import FetchView
from posestream.pipeline.commands.run import console_options, network_options, settings_of
from posestream.pipeline.logs import set_up_logging

__all__ = ["demo_command"]


@click.command("demo")
@network_options
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@console_options
@click.pass_obj
def demo_command(is_debugging: bool, /, quiet: bool, log_format: str, **options: Any) -> int:
    """Fetch a sample clip and a network if need be, and write out/demo.mp4 and out/demo.jsonl."""
    console = Console(stderr=True)
    set_up_logging(console, log_format, is_quiet=quiet, is_debugging=is_debugging)
    with FetchView(console, is_quiet=quiet or log_format == "json") as fetching:
        clip = fetch_sample(progress=fetching.note)
    options |= {
        "sources": (str(clip),),
        "save_video": "out/demo.mp4",
        "save_jsonl": "out/demo.jsonl",
        "overwrite": True,
    }
    return execute(settings_of(options), console, is_quiet=quiet, log_format=log_format)
