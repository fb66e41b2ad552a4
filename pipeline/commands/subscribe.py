"""`subscribe ADDR`: what a publisher sends, as lines, as a table or into a file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from posestream.pipeline.client.order import Gap
from posestream.pipeline.client.recording import Recording
from posestream.pipeline.client.subscription import Messages, tell_gap
from posestream.pipeline.commands.console import standard_output
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.logs import LOG_FORMATS, set_up_logging
from posestream.pipeline.security.guard import ConnectGuard
from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.message import json_line
from posestream.stages.output.sink import output_errors
from posestream.stages.output.standard_output import StandardOutput

__all__ = ["subscribe_command"]

#: How often the table is drawn anew, per second.
_TABLE_HZ = 4
#: Messages over which a source's rate is taken.
_RATE_MESSAGES = 100

Take = Callable[[Mapping[str, Any]], None]


@click.command("subscribe")
@click.argument("address")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only these sources.  [default: all]")
@click.option("--replay", is_flag=True, help="Begin with what the publisher still has, and ask for what is missed.")
@click.option("--json", "is_json", is_flag=True, help="One line per message on standard output.")
@click.option("--table", "is_table", is_flag=True, help="A table of the sources on standard error.")
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="FILE.jsonl", help="Append to a file, and go on where it ends."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N messages.")
@click.option("--idle", type=click.FloatRange(0.1), metavar="SECONDS", help="End when nothing has come for so long.")
@click.option("--key", type=click.Path(path_type=Path), help="Your secret key, where the publisher wants keys.")
@click.option("--server-key", type=click.Path(path_type=Path), help="The publisher's public key.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), default="text", help="Format of the log.")
@click.option("--quiet", "-q", is_flag=True, help="Only errors.")
@click.pass_obj
def subscribe_command(
    is_debugging: bool, /, address: str, sources: tuple[str, ...], log_format: str, quiet: bool, **options: Any
) -> int:
    """Listen to a run that publishes (run --publish ADDR) until Ctrl-C.

    What was missed while the connection was away is asked for with --replay, and always with --record.
    """
    console = Console(stderr=True)
    set_up_logging(console, log_format, is_quiet=quiet, is_debugging=is_debugging)
    guard = ConnectGuard.of(options["key"], options["server_key"])
    record: Path | None = options["record"]
    if record == Path("-"):
        raise SettingsError("--record appends to a file: --json --replay gives the same lines on standard output")
    with ExitStack() as stack:
        takers: list[Take] = []
        after: dict[str, tuple[str, int]] = {}
        if record is not None:
            recording = stack.enter_context(closing(Recording(record)))
            after = {name: place for name, place in recording.after.items() if not sources or name in sources}
            takers.append(recording.write)
        seen = _Seen()
        if options["is_table"] or (console.is_terminal and not options["is_json"] and record is None):
            seen.live = stack.enter_context(Live(console=console, auto_refresh=False))
            takers.append(seen.note)
        if options["is_json"] or not takers:
            output = stack.enter_context(_until_nobody_reads())
            takers.append(lambda message: _write_line(output, message))
        messages = Messages(
            address,
            sources or None,
            replay=options["replay"] or record is not None,
            after=after,
            on_gap=seen.note_gap,
            idle_s=options["idle"],
            guard=guard,
        )
        stack.enter_context(messages)
        _listen(messages, takers, seen, options["count"])
    return ExitCode.DONE


@contextmanager
def _until_nobody_reads() -> Iterator[Console]:
    """Give standard output; a reader that has gone, such as `head`, has had enough, which is a usual end.

    Raises:
        OutputError: it is closed, or cannot be written.
    """
    with output_errors("standard output"):
        StandardOutput().close()
    try:
        with standard_output() as output:
            yield output
    except OutputError as error:
        if not isinstance(error.__cause__, BrokenPipeError):
            raise


def _listen(messages: Messages, takers: list[Take], seen: _Seen, count: int | None) -> None:
    """Give each message to all; Ctrl-C is the usual end."""
    try:
        for number, message in enumerate(messages, 1):
            for take in takers:
                take(message)
            if number == count:
                return
    except KeyboardInterrupt:
        return
    finally:
        seen.show()


def _write_line(output: Console, message: Mapping[str, Any]) -> None:
    output.file.write(json_line(dict(message)).decode())
    output.file.flush()


@dataclass(slots=True)
class _Source:
    """What was seen of one source."""

    messages: int = 0
    dropped: int = 0
    lost: int = 0
    people: int = 0
    n: int = 0
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_MESSAGES))

    @property
    def per_s(self) -> float:
        """Messages per second over the last few."""
        span_s = self.times_s[-1] - self.times_s[0] if self.times_s else 0.0
        return (len(self.times_s) - 1) / span_s if span_s > 0 else 0.0


class _Seen:
    """What was seen, as a table if it is to be shown."""

    def __init__(self) -> None:
        self.live: Live | None = None
        self._sources: dict[str, _Source] = {}
        self._shown_s = 0.0

    def note(self, message: Mapping[str, Any]) -> None:
        source = self._source(message["source"])
        source.messages += 1
        source.n = message["n"]
        source.times_s.append(time.monotonic())
        if message["type"] == "drop":
            source.dropped += 1
        else:
            source.people = len(message["people"])
        if time.monotonic() - self._shown_s > 1 / _TABLE_HZ:
            self.show()

    def note_gap(self, gap: Gap) -> None:
        tell_gap(gap)
        self._source(gap.source).lost += 0 if gap.last is None else gap.last - gap.first + 1

    def show(self) -> None:
        self._shown_s = time.monotonic()
        if self.live is not None:
            self.live.update(self._table(), refresh=True)

    def _source(self, name: str) -> _Source:
        return self._sources.setdefault(name, _Source())

    def _table(self) -> Table:
        table = Table("source", "messages", "a second", "people", "dropped", "lost", "last n")
        for name, one in sorted(self._sources.items()):
            table.add_row(name, *map(str, (one.messages, f"{one.per_s:.1f}", one.people, one.dropped, one.lost, one.n)))
        return table
