"""Runs a job in the foreground: signals, progress, windows, and the summary."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import FrameType

from rich.console import Console

from posestream.models.weights import WeightStore
from posestream.pipeline.commands.console import ProgressView, log_summary, show_summary, standard_output
from posestream.pipeline.commands.fetching import FetchView
from posestream.pipeline.control.desk import open_desk
from posestream.pipeline.control.roster import Roster
from posestream.pipeline.errors import ExitCode, exit_code_of, is_expected
from posestream.pipeline.job import plan_job
from posestream.pipeline.lane.windows import NoDisplay, open_display
from posestream.pipeline.logs import LOSSES
from posestream.pipeline.settings import Settings
from posestream.pipeline.status import StatusPublisher
from posestream.pipeline.summary import Summary
from posestream.pipeline.supervision.crew import start_job
from posestream.pipeline.supervision.handles import LaneHandle
from posestream.pipeline.supervision.process import LogOptions
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.stages.items import Reason
from posestream.stages.output.display import Display

__all__ = ["execute"]

_log = logging.getLogger(__name__)
_losses = logging.getLogger(LOSSES)

#: What is said of frames that were dropped for such a reason.
_LOSSES = {
    Reason.UNDECODABLE.value: "could not be decoded; the messages (--save-jsonl) tell which",
    Reason.POISON.value: "brought down every replica that was given them; the messages (--save-jsonl) tell which",
}

#: How often progress is shown and signals are looked at, in seconds.
_TICK_S = 0.1
#: The same while windows are open, so that they feel alive.
_DISPLAY_TICK_S = 0.02


#: The signal of a terminal that has gone; none on systems without.
_HANG_UP = getattr(signal, "SIGHUP", None)


def _stopping_signals() -> list[signal.Signals]:
    """List the signals that stop a run; one that was told to be ignored (`nohup`) is."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if _HANG_UP is not None and signal.getsignal(_HANG_UP) is not signal.SIG_IGN:
        signals.append(_HANG_UP)
    return signals


def _leave_terminal() -> None:
    """Write to nobody where a terminal has gone: writing to it would fail while the run ends."""
    for descriptor in (1, 2):
        if os.isatty(descriptor):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


class _Signals:
    """Handlers only record; the loop acts. The second signal does not wait for the loop."""

    def __init__(self) -> None:
        self.count = 0
        #: Each removes something that would outlive a process that ends at once.
        self.clean_up: list[Callable[[], None]] = []

    def note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if number == _HANG_UP:
            _leave_terminal()
        if self.count > 1:
            for clean_up in self.clean_up:
                clean_up()
            os._exit(ExitCode.STOPPED_AT_ONCE)


def execute(settings: Settings, console: Console, *, is_quiet: bool, log_format: str) -> ExitCode:
    """Run a job to its end and give the exit code."""
    is_json = log_format == "json"
    has_no_bars = is_quiet or is_json
    with FetchView(console, is_quiet=has_no_bars) as fetching:
        job = plan_job(settings, WeightStore.from_environment(), fetching.note)
    display = open_display(is_wanted=settings.output.display is not None)
    status = StatusPublisher(settings.pipeline.status, job.guard, settings.security.clients)
    desk = open_desk(settings.pipeline.control, job.guard, settings.security.clients)
    with _recorded_signals() as signals, closing(display), closing(status), closing(desk):
        supervisor = start_job(job, log=LogOptions(log_format, is_quiet, _log.isEnabledFor(logging.DEBUG)))
        signals.clean_up += [supervisor.clean_up, desk.clean_up]
        supervisor.services.malformed = lambda: desk.malformed
        supervisor.services.refused = lambda: desk.refused
        try:
            for lane in supervisor.lanes:
                _show_windows(display, lane)
            roster = Roster(job, supervisor, functools.partial(_show_windows, display))
            visits = [lambda: status.tick(supervisor), lambda: desk.tick(roster.answer)]
            _watch(supervisor, display, visits, signals, console, is_quiet=has_no_bars)
            status.publish(supervisor)
        finally:
            summary = supervisor.close()
    if is_json:
        log_summary(summary)
    elif not is_quiet:
        _show(settings, summary, console)
    _tell_losses(summary)
    _tell_cuts(summary)
    _tell_errors(summary)
    return summary.exit_code


def _show_windows(display: Display | NoDisplay, lane: LaneHandle) -> None:
    """Show the pictures of a lane that are to be shown in this process."""
    for sink in lane.display_sinks:
        display.add(sink)


def _show(settings: Settings, summary: Summary, console: Console) -> None:
    """Show the table, on standard error where standard output is for the lines alone."""
    if _has_lines_on_standard_output(settings):
        show_summary(console, summary)
        return
    with standard_output() as output:
        show_summary(output, summary)


def _has_lines_on_standard_output(settings: Settings) -> bool:
    lines = settings.output.jsonl
    return lines is not None and lines.is_standard_output


@contextmanager
def _recorded_signals() -> Iterator[_Signals]:
    """Record the signals that stop a run, and give them back their handlers at the end."""
    signals = _Signals()
    before = {number: signal.signal(number, signals.note) for number in _stopping_signals()}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(
    supervisor: Supervisor,
    display: Display | NoDisplay,
    visits: Sequence[Callable[[], None]],
    signals: _Signals,
    console: Console,
    *,
    is_quiet: bool,
) -> None:
    told = False
    with ProgressView(console, supervisor, is_quiet=is_quiet) as view:
        while supervisor.is_running and not supervisor.has_crashed:
            supervisor.wait(_TICK_S if isinstance(display, NoDisplay) else _DISPLAY_TICK_S)
            view.update()
            for visit in visits:
                visit()
            wants_more = display.poll()
            if (signals.count or not wants_more) and not told:
                told = True
                _log.info("stopping: what is in flight is finished first")
                supervisor.stop()


def _tell_cuts(summary: Summary) -> None:
    """Say where counts may be higher than what was written: what a lane that died had not written yet is lost."""
    for report in [report for report in summary.sources if report.is_cut]:
        _losses.warning(
            "%s: its lane died and none went on: of the %d frames that are counted as done, the last may not be "
            "written; --resume does them again",
            report.name,
            report.counts.ended,
        )


def _tell_losses(summary: Summary) -> None:
    """Say how many frames could not be done; they are no failure of a source that is whole else, but never silent."""
    # Of a source that was cut off or is damaged at its end, that is told, and says more.
    for report in [report for report in summary.sources if report.error is None]:
        for reason, what in _LOSSES.items():
            lost = sum(count for name, count in report.counts.dropped.items() if name.endswith(f"/{reason}"))
            if lost:
                _losses.warning("%s: %d of %d frames %s", report.name, lost, report.counts.taken, what)


def _tell_errors(summary: Summary) -> None:
    """Say what went wrong; failed outputs were told when they failed."""
    errors = [report.error for report in summary.sources if report.error is not None]
    if summary.error is not None:
        errors.append(summary.error)
    for error in errors:
        if is_expected(error):
            _log.error("%s", error)
        else:
            is_debugging = _log.isEnabledFor(logging.DEBUG)
            _log.error("unexpected %s: %s", type(error).__name__, error, exc_info=error if is_debugging else None)
        _log.debug("exit code %d", exit_code_of(error))
