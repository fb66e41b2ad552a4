"""A lane as a process of its own: the head's side of it, and what runs in it."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from pydantic import TypeAdapter

from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.errors import ExitCode, PipelineError, exit_code_of
from posestream.pipeline.lane.factory import make_lane
from posestream.pipeline.lane.lane import Lane, LanePlan
from posestream.pipeline.lane.line_relay import LineRelay
from posestream.pipeline.lane.state import LaneProgress
from posestream.pipeline.lane.windows import open_display
from posestream.pipeline.latency import LATENCY_BUCKETS, STAGES, LatencyHistogram
from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.settings import OutputTable
from posestream.pipeline.supervision.handles import LinkReport
from posestream.pipeline.supervision.parent import Parent
from posestream.pipeline.supervision.process import PAUSE, RESUME, STOP, ChildProcess, LogOptions
from posestream.pipeline.wire.envelope import array
from posestream.pipeline.wire.identities import report_identity
from posestream.pipeline.wire.messages import LaneReport
from posestream.pipeline.wire.sockets import Addresses, Sockets, ZmqContext, ZmqSocket, send
from posestream.stages.errors import OutputError, SourceError
from posestream.stages.output.display import DisplaySink
from posestream.stages.source.link_state import LinkPhase, LinkState
from posestream.stages.source.opening import SourceSettings, is_kept

__all__ = ["LaneConfig", "LaneProcess", "run_lane"]

#: Time between two reports, in seconds: a lane that falls silent for long hangs.
_REPORT_S = 0.2
#: How long after a process's end its last report may still be on its way, in seconds.
_LAST_WORD_S = 1.0
#: How often it is looked for then, in seconds.
_LOOK_S = 0.02
#: A lane that was not heard for so long hangs, in seconds; opening a source may take a while.
SILENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """What the process is told."""

    plan: LanePlan
    addresses: Addresses
    source: SourceSettings
    outputs: OutputTable
    #: True: go on where an earlier process's outputs end.
    goes_on: bool


_CONFIG = TypeAdapter(LaneConfig)


class LaneProcess:
    """The head's side: the same verbs as a `Lane` of threads."""

    def __init__(
        self, config: LaneConfig, dispatch: DispatchLoop, log: LogOptions, relay: LineRelay | None = None
    ) -> None:
        self._config = config
        self._dispatch = dispatch
        work = _CONFIG.dump_python(config, mode="json")
        self._relay = relay or LineRelay()
        self._child = ChildProcess(config.source.name, "lane", work, log, relay)
        self._started_s = 0.0
        self._found_dead_s: float | None = None
        #: How a live source's connection is until the process has told.
        self._first_link: LinkReport | None = None

    def __repr__(self) -> str:
        return f"<LaneProcess {self._child}>"

    @property
    def name(self) -> str:
        """The source's name."""
        return self._config.source.name

    @property
    def pid(self) -> int | None:
        """Its process's number."""
        return self._child.pid

    @property
    def frame_count(self) -> int | None:
        """How many frames to expect; None where that is not known."""
        report = self._report
        return report.frame_count if report else None

    @property
    def display_sinks(self) -> list[DisplaySink]:
        """None for the head: the process shows its windows itself."""
        return []

    @property
    def progress(self) -> LaneProgress:
        """What its outputs have seen, as of its last report."""
        report = self._dispatch.report(self.name)
        if report is None:
            return LaneProgress()
        told = report.message
        histograms = [
            LatencyHistogram(array(payload, np.int64, (LATENCY_BUCKETS,)).copy()) for payload in report.payloads
        ]
        if len(histograms) != len(STAGES):
            histograms = [LatencyHistogram() for _ in STAGES]
        latency = dict(zip(STAGES, histograms, strict=True))
        return LaneProgress(told.ended, told.posed, told.people, told.first_result_s, told.last_result_s, latency)

    @property
    def is_alive(self) -> bool:
        """True until it has finished, or has died, and its lines are passed on."""
        return self._child.is_alive or self._relay.is_alive or self._is_last_word_due

    @property
    def has_finished(self) -> bool:
        """True once it has told that all is done."""
        report = self._report
        return report is not None and report.is_final

    @property
    def has_died(self) -> bool:
        """True if the process ended before it had finished."""
        return self._child.returncode is not None and not self.is_alive and not self.has_finished

    @property
    def is_silent(self) -> bool:
        """True if it should have been heard and was not: it hangs."""
        report = self._dispatch.report(self.name)
        heard_s = self._started_s if report is None else report.heard_s
        return self._child.is_alive and time.monotonic() - heard_s > SILENCE_S

    @property
    def has_left_source(self) -> bool:
        """Never: nothing outlives a process."""
        return False

    @property
    def link(self) -> LinkReport | None:
        """How a live source's connection is, as of its last report."""
        report = self._report
        if report is None:
            return self._first_link
        if report.link_phase is None:
            return None
        state = LinkState(report.link_phase, report.link_since_s, report.link_why)
        return LinkReport(state, report.connections)

    @property
    def source_error(self) -> BaseException | None:
        """What ended the source early, or kept it from opening."""
        report = self._report
        if report is None or not report.source_error:
            return None
        kind = SourceError if report.source_error_code == ExitCode.SOURCE else PipelineError
        return kind(report.source_error)

    @property
    def crash(self) -> BaseException | None:
        """Never set: a process that crashed is started again."""
        return None

    @property
    def death(self) -> PipelineError:
        """What is known of how it died."""
        code = self._child.returncode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return PipelineError(f"the lane of {self.name} {how}")

    @property
    def output_errors(self) -> list[OutputError]:
        """Outputs that failed."""
        report = self._report
        return [OutputError(text) for text in report.output_errors] if report else []

    @property
    def paths(self) -> tuple[Path, ...]:
        """What was written."""
        report = self._report
        return tuple(Path(path) for path in report.paths) if report else ()

    def start(self) -> None:
        """Start the process."""
        before = self._report
        self._dispatch.forget_report(self.name)
        self._started_s = time.monotonic()
        if is_kept(self._config.source):
            why, connections = ("its process ended", before.connections) if before else ("", 0)
            self._first_link = LinkReport(LinkState(LinkPhase.CONNECTING, time.time(), why), connections)
        self._child.start()

    def stop(self) -> None:
        """Take no more frames; those in flight go on to their end."""
        self._child.stop()

    def pause(self) -> None:
        """Take no frames until `resume`."""
        self._child.say(PAUSE)

    def resume(self) -> None:
        """Take frames again."""
        self._child.say(RESUME)

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()

    def join(self, deadline_s: float) -> bool:
        """Wait until it has ended and told so; False if it has not ended by the monotonic clock's `deadline_s`."""
        if not self._child.join(deadline_s) or not self._relay.join(deadline_s):
            return False
        while self._is_last_word_due:
            time.sleep(_LOOK_S)
        return True

    @property
    def _report(self) -> LaneReport | None:
        report = self._dispatch.report(self.name)
        return None if report is None else report.message

    @property
    def _is_last_word_due(self) -> bool:
        """True while the last report of a process that has ended may still be on its way."""
        if self._child.returncode is None or self.has_finished:
            return False
        self._found_dead_s = self._found_dead_s or time.monotonic()
        return time.monotonic() - self._found_dead_s < _LAST_WORD_S


def run_lane(settings: Any, parent: Parent) -> ExitCode:
    """Run a lane to its end: what runs in the process."""
    config = _CONFIG.validate_python(settings)
    context: ZmqContext = zmq.Context()
    # Reports must be sent to the last one, also where a thread that hangs in its source keeps a socket of the lane's.
    report_context: ZmqContext = zmq.Context()
    changed = threading.Event()
    with Sockets(report_context) as sockets:
        identity = report_identity(config.source.name)
        reports = sockets.open(zmq.DEALER, connect=config.addresses.lanes, identity=identity)
        try:
            lane = make_lane(
                config.plan,
                context,
                config.addresses,
                config.source,
                LaneOutputs(config.outputs),
                changed.set,
                goes_on=config.goes_on,
            )
        except (SourceError, OutputError) as error:
            send(reports, _failure(config.source.name, error))
            return exit_code_of(error)
        parent.watch({STOP: lane.stop, PAUSE: lane.pause, RESUME: lane.resume}, lane.abort)
        lane.start()
        _watch(lane, changed, reports)
    report_context.term()
    if not lane.has_left_source:
        context.term()
    return ExitCode.DONE if lane.crash is None else exit_code_of(lane.crash)


def _watch(lane: Lane, changed: threading.Event, reports: ZmqSocket) -> None:
    """Report until the lane has ended; a crash is told by the exit code alone."""
    with closing(open_display(is_wanted=bool(lane.display_sinks))) as display:
        for sink in lane.display_sinks:
            display.add(sink)
        while lane.is_alive and lane.crash is None:
            changed.wait(_REPORT_S)
            changed.clear()
            _report(lane, reports, is_final=False)
            if not display.poll():
                lane.stop()
    if lane.crash is None:
        _report(lane, reports, is_final=True)


def _failure(source: str, error: SourceError | OutputError) -> LaneReport:
    """Tell of a lane that could not begin."""
    is_source = isinstance(error, SourceError)
    return LaneReport(
        source,
        True,
        0,
        0,
        0,
        None,
        None,
        None,
        (),
        int(exit_code_of(error)) if is_source else 0,
        str(error) if is_source else "",
        () if is_source else (str(error),),
    )


def _report(lane: Lane, reports: ZmqSocket, *, is_final: bool) -> None:
    seen, error, link = lane.progress, lane.source_error, lane.link
    message = LaneReport(
        lane.name,
        is_final,
        seen.ended,
        seen.posed,
        seen.people,
        seen.first_result_s,
        seen.last_result_s,
        lane.frame_count,
        tuple(str(path) for path in lane.paths),
        int(exit_code_of(error)) if error else 0,
        str(error) if error else "",
        tuple(str(error) for error in lane.output_errors),
        link.state.phase if link else None,
        link.state.since_s if link else 0.0,
        link.state.why if link else "",
        link.connections if link else 0,
    )
    send(reports, message, [seen.latency[stage].counts for stage in STAGES])
