"""`control add|remove|pause|resume|list`: the sources of a run that is going on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from posestream.pipeline.commands.console import show_table, standard_output
from posestream.pipeline.control.client import ask, list_sources, the_one_run
from posestream.pipeline.control.roster import Question
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.logs import one_line
from posestream.pipeline.security.guard import ConnectGuard
from posestream.pipeline.toml_tables import Raw, merged, parse_assignment
from posestream.pipeline.wire.control import (
    AddSource,
    Agreed,
    PauseSource,
    Refused,
    RemoveSource,
    ResumeSource,
    SourceEntry,
)
from posestream.stages.errors import SettingsError
from posestream.stages.source.opening import is_file_like

__all__ = ["control_command"]


class _Head:
    """The run that is asked."""

    def __init__(self, address: str | None, guard: ConnectGuard) -> None:
        self.address = address or the_one_run()
        self._guard = guard

    def tell(self, question: Question) -> int:
        """Ask, say what was answered, and give the exit code."""
        answer = ask(self.address, question, self._guard)
        if isinstance(answer, Refused):
            raise click.exceptions.Exit(_complain(answer))
        with standard_output() as output:
            output.print(Text(one_line(answer.text if isinstance(answer, Agreed) else "")), soft_wrap=True)
        return ExitCode.DONE

    def list(self, *, is_json: bool) -> int:
        """Print a table of all sources, or one JSON object for each."""
        entries = list_sources(self.address, self._guard)
        with standard_output() as output:
            if not is_json:
                show_table(output, _table_of(entries))
            for entry in entries if is_json else ():
                output.print(Text(json.dumps(asdict(entry))), soft_wrap=True)
        return ExitCode.DONE


def _complain(answer: Refused) -> int:
    click.echo(f"posestream: error: {one_line(answer.text)}", err=True)
    return answer.code


@click.group("control")
@click.option("--connect", metavar="ADDRESS", help="Where the run listens.  [default: the one run on this host]")
@click.option("--key", type=click.Path(path_type=Path), help="Your own secret key, for a guarded run.")
@click.option("--server-key", type=click.Path(path_type=Path), help="The run's public key.")
@click.pass_context
def control_command(context: click.Context, connect: str | None, key: Path | None, server_key: Path | None) -> None:
    """Add, remove, pause and resume the sources of a run that is going on, and list them."""
    context.obj = lambda: _Head(connect, ConnectGuard.of(key, server_key))


@control_command.command("add")
@click.argument("url")
@click.option("--name", help="What it is called.  [default: taken from URL]")
@click.option("--start", type=click.FloatRange(0), metavar="SECONDS", help="Skip the beginning of a file.")
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Anything that [[source]] has.")
@click.pass_context
def add_command(
    context: click.Context,
    url: str,
    name: str | None,
    start: float | None,
    max_frames: int | None,
    assignments: tuple[str, ...],
) -> int:
    """Take frames from one more source; it has the outputs that the run has for each."""
    if not url.strip():
        raise SettingsError("the source's address is empty: give a video file, a folder of pictures, a camera or a URL")
    # The run works in another folder.
    table: Raw = {"url": str(Path(url).absolute()) if is_file_like(url) else url}
    options = {"name": name, "start_s": start, "max_frames": max_frames}
    table |= {key: value for key, value in options.items() if value is not None}
    for assignment in assignments:
        table = merged(table, parse_assignment(assignment))
    try:
        return int(context.obj().tell(AddSource(json.dumps(table))))
    except TypeError as error:
        raise SettingsError(f"--set: a value that no source has: {error}") from error


@control_command.command("remove")
@click.argument("source")
@click.pass_context
def remove_command(context: click.Context, source: str) -> int:
    """Take no more frames from a source; what is in flight is finished and its files are closed."""
    return int(context.obj().tell(RemoveSource(source)))


@control_command.command("pause")
@click.argument("source")
@click.pass_context
def pause_command(context: click.Context, source: str) -> int:
    """Take no frames from a source for a while: a file or standard input waits, a camera is let go."""
    return int(context.obj().tell(PauseSource(source)))


@control_command.command("resume")
@click.argument("source")
@click.pass_context
def resume_command(context: click.Context, source: str) -> int:
    """Take frames again from a source that was paused."""
    return int(context.obj().tell(ResumeSource(source)))


@control_command.command("list")
@click.option("--json", "is_json", is_flag=True, help="One JSON object per source.")
@click.pass_context
def list_command(context: click.Context, is_json: bool) -> int:
    """Tell of every source that the run has or had."""
    return int(context.obj().list(is_json=is_json))


def _table_of(entries: Sequence[SourceEntry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("source", "state", "taken", "posed", "dropped", "in flight", "url"):
        table.add_column(heading, justify="left" if heading in ("source", "state", "url") else "right")
    for entry in entries:
        state = f"{entry.state}: {entry.why}" if entry.why else entry.state
        counts = (entry.taken, entry.posed, entry.dropped, entry.in_flight)
        table.add_row(entry.name, Text(one_line(state)), *map(str, counts), Text(one_line(entry.url)))
    return table
