"""What people see: the progress bar, and the table at the end."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from posestream.pipeline.logs import one_line
from posestream.pipeline.summary import SourceReport, Summary
from posestream.pipeline.supervision.handles import LaneHandle
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.stages.output.sink import output_errors
from posestream.stages.source.link_state import LinkPhase

__all__ = [
    # standard output
    "drop_standard_output",
    "show_table",
    "standard_output",
    # a run
    "ProgressView",
    "log_summary",
    "show_summary",
]

_log = logging.getLogger(__name__)

#: Seconds over which the frame rate in the progress bar is taken.
_RATE_WINDOW_S = 5.0
#: Fewer frames come out of the replicas' queues in one go, and tell of no rate.
_LEAST_FRAMES = 20
#: More than any table has.
_ANY_COLUMNS = 10_000


class _Output(Console):
    """Standard output for people."""

    def on_broken_pipe(self) -> None:
        """Leave the error to the caller; rich would end the process."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextlib.contextmanager
def standard_output() -> Iterator[Console]:
    """Give the console of standard output.

    Raises:
        OutputError: it cannot be written; from then on nothing is.
    """
    with output_errors("standard output"):
        try:
            yield _Output()
            sys.stdout.flush()
        except OSError:
            drop_standard_output()
            raise


def drop_standard_output() -> None:
    """Write to nobody from now on: Python would fail once more while it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_table(console: Console, table: Table, least_columns: int = 0) -> None:
    """Print a table; where it would be squeezed to less than so many columns or cut, the terminal may break lines."""
    natural_columns = console.measure(table, options=console.options.update(max_width=_ANY_COLUMNS)).maximum
    if not console.is_terminal or console.width < (least_columns or natural_columns):
        console = type(console)(file=console.file, width=natural_columns, force_terminal=console.is_terminal)
    console.print(table)


class _Rate:
    """Frames per second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, frames: int) -> float:
        self._seen.append((now_s, frames))
        while now_s - self._seen[0][0] > _RATE_WINDOW_S:
            self._seen.popleft()
        (then_s, then_frames) = self._seen[0]
        return (frames - then_frames) / (now_s - then_s) if now_s > then_s else 0.0


class _FramesColumn(ProgressColumn):
    """Frames done, of how many if that is known."""

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else f"{task.total:.0f}"
        return Text(f"{task.completed:.0f}/{total} frames")


class ProgressView:
    """A progress bar per source, while it works."""

    def __init__(self, console: Console, supervisor: Supervisor, *, is_quiet: bool) -> None:
        self._supervisor = supervisor
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _FramesColumn(),
            TextColumn("{task.fields[rate]:5.1f} fps"),
            TextColumn("{task.fields[people]:.1f} people"),
            TimeRemainingColumn(),
            console=console,
            disable=is_quiet or not console.is_terminal,
        )
        self._tasks: dict[str, tuple[TaskID, _Rate]] = {}

    def __enter__(self) -> ProgressView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.update()
        self._progress.stop()

    def update(self) -> None:
        """Show how far each source is."""
        for name in self._tasks.keys() - {lane.name for lane in self._supervisor.lanes}:
            self._progress.remove_task(self._tasks.pop(name)[0])
        for lane in self._supervisor.lanes:
            if lane.name not in self._tasks:
                self._tasks[lane.name] = (self._progress.add_task(lane.name, total=None, rate=0.0, people=0.0), _Rate())
            task, rate = self._tasks[lane.name]
            seen = lane.progress
            self._progress.update(
                task,
                description=_described(lane),
                total=lane.frame_count,
                completed=self._supervisor.counts(lane.name).ended,
                rate=rate.note(time.monotonic(), seen.ended),
                people=seen.people / seen.posed if seen.posed else 0.0,
            )


def _described(lane: LaneHandle) -> str:
    """Give a source's name, and its state where it gives nothing."""
    link = lane.link
    if link is None or link.state.phase is LinkPhase.LIVE or link.state.phase.is_final:
        return lane.name
    why = f": {link.state.why}" if link.state.why else ""
    return escape(f"{lane.name} ({link.state.phase}{one_line(why)})")


def _connection(report: SourceReport) -> str | None:
    """Tell how a live source was; None of a recorded one, and of one that was live throughout."""
    link = report.link
    if link is None or (link.connections == 1 and link.state.phase in (LinkPhase.LIVE, LinkPhase.ENDED)):
        return None
    why = f" ({one_line(link.state.why)})" if link.state.why else ""
    return f"{report.name}: {link.state.phase}{why} at the end, {link.connections} connections"


def show_summary(console: Console, summary: Summary) -> None:
    """Print what became of each source, and where its files are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("source", "taken", "posed", "dropped", "people/frame", "fps", "median", "p99"):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    for report in summary.sources:
        table.add_row(report.name, *_figures(report))
    show_table(console, table)
    for report in summary.sources:
        console.print(f"{report.name}: {_stages(report)}", highlight=False, soft_wrap=True)
        if (connection := _connection(report)) is not None:
            console.print(Text(connection), soft_wrap=True)
        for reason, count in sorted(report.counts.dropped.items()):
            console.print(f"{report.name}: {count} dropped as {reason}", highlight=False, soft_wrap=True)
        for path in filter(_is_written, report.paths):
            console.print(Text(f"{report.name}: wrote {one_line(str(path))}"), soft_wrap=True)

    if (line := _past(summary)) is not None:
        console.print(line, highlight=False, soft_wrap=True)
    for line in _mishaps(summary):
        console.print(line, highlight=False, soft_wrap=True)


def _stages(report: SourceReport) -> str:
    """Tell median and p99 of each stage that did something."""
    told = []
    for stage, histogram in report.progress.latency.items():
        median_s, p99_s = histogram.percentile_s(50), histogram.percentile_s(99)
        if stage != "total" and median_s is not None and p99_s is not None:
            told.append(f"{stage} {median_s * 1000:.1f}/{p99_s * 1000:.1f}")
    return f"{', '.join(told)} ms (median/p99)" if told else "no frame was done"


def _past(summary: Summary) -> str | None:
    """Tell of the sources that are not told of one by one; None where there are none."""
    if not summary.past_sources:
        return None
    counts = summary.past_counts
    told = f"{counts.taken} frames taken, {counts.posed} posed, {counts.dropped.total()} dropped"
    return f"{summary.past_sources} sources more came and went before these: {told}"


def _mishaps(summary: Summary) -> list[str]:
    """Tell what had to be started or handed out again, where anything had."""
    lanes = sum(report.restarts for report in summary.sources)
    if not (lanes or summary.replica_restarts or summary.redelivered):
        return []
    restarted = f"started again: {summary.replica_restarts} replicas, {lanes} lanes"
    return [f"{restarted}; {summary.redelivered} frames handed out again"]


def log_summary(summary: Summary) -> None:
    """Log what became of each source, one entry each."""
    for report in summary.sources:
        taken, posed, dropped, people, rate, median, p99 = _figures(report)
        _log.info(
            "%s: %s taken, %s posed, %s dropped, %s people a frame, %s fps, median %s, p99 %s",
            *(report.name, taken, posed, dropped, people, rate, median, p99),
        )
        if (connection := _connection(report)) is not None:
            _log.info("%s", connection)
        for reason, count in sorted(report.counts.dropped.items()):
            _log.info("%s: %d dropped as %s", report.name, count, reason)
        for path in filter(_is_written, report.paths):
            _log.info("%s: wrote %s", report.name, path)


def _figures(report: SourceReport) -> list[str]:
    seen, counts = report.progress, report.counts
    span_s = (seen.last_result_s or 0.0) - (seen.first_result_s or 0.0)
    rate = (seen.ended - 1) / span_s if span_s > 0 and seen.ended >= _LEAST_FRAMES else None
    return [
        str(counts.taken),
        str(counts.posed),
        str(counts.dropped.total()),
        f"{seen.people / seen.posed:.2f}" if seen.posed else "-",
        "-" if rate is None else f"{rate:.1f}",
        _milliseconds(seen.latency["total"].percentile_s(50)),
        _milliseconds(seen.latency["total"].percentile_s(99)),
    ]


def _milliseconds(duration_s: float | None) -> str:
    return "-" if duration_s is None else f"{duration_s * 1000:.0f} ms"


def _is_written(path: Path) -> bool:
    """True for an output in which there is something; a folder that a full disk left empty tells of nothing."""
    return any(path.iterdir()) if path.is_dir() else path.exists()
