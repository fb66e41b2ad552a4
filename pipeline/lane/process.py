"""A lane as a process of its own, as the head sees it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.errors import ExitCode, PipelineError
from posestream.pipeline.lane.child import CONFIG, LaneConfig
from posestream.pipeline.lane.line_relay import LineRelay
from posestream.pipeline.lane.state import LaneProgress
from posestream.pipeline.latency import LATENCY_BUCKETS, STAGES, LatencyHistogram
from posestream.pipeline.supervision.handles import LinkReport
from posestream.pipeline.supervision.process import PAUSE, RESUME, ChildProcess, LogOptions
from posestream.pipeline.wire.envelope import array
from posestream.pipeline.wire.messages import LaneReport
from posestream.stages.errors import OutputError, SourceError
from posestream.stages.output.display import DisplaySink
from posestream.stages.source.link_state import LinkPhase, LinkState
from posestream.stages.source.opening import is_kept

__all__ = ["LaneProcess"]

#: How long after a process's end its last report may still be on its way, in seconds.
_LAST_WORD_S = 1.0
#: How often it is looked for then, in seconds.
_LOOK_S = 0.02
#: A lane that was not heard for so long hangs, in seconds that the head listened.
SILENCE_S = 10.0
#: How long it may take until it is heard first: it loads on a machine that may be busy, and reads what there is already
#: of outputs that it is to go on with.
START_S = 180.0


class LaneProcess:
    """The head's side: the same verbs as a `Lane` of threads."""

    def __init__(
        self, config: LaneConfig, dispatch: DispatchLoop, log: LogOptions, relay: LineRelay | None = None
    ) -> None:
        self._config = config
        self._dispatch = dispatch
        work = CONFIG.dump_python(config, mode="json")
        self._relay = relay or LineRelay()
        self._child = ChildProcess(config.source.name, "lane", work, log, relay)
        #: When it was started, on the clock of the dispatcher's listening.
        self._started_s = 0.0
        self._found_dead_s: float | None = None
        #: True if it was stopped before it had begun, and ended at once.
        self._is_called_off = False
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
        """True if the process ended before it had finished; not where it was stopped before any frame was taken."""
        if self._child.returncode is None or self.is_alive or self.has_finished:
            return False
        # A lane before this one may have taken frames, and not written them.
        return not self._is_called_off or self._dispatch.counts(self.name).taken > 0

    @property
    def is_silent(self) -> bool:
        """True if it should have been heard and was not: it hangs."""
        report = self._dispatch.report(self.name)
        heard_s, patience_s = (self._started_s, START_S) if report is None else (report.heard_s, SILENCE_S)
        return self._child.is_alive and self._dispatch.listened_s - heard_s > patience_s

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
        return LinkReport(state, report.connections, report.next_epoch)

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
        if self._is_called_off:
            return PipelineError(f"the lane of {self.name} had died, and was stopped before it went on")
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
        self._dispatch.forget_report(self.name)
        self._started_s = self._dispatch.listened_s
        if is_kept(self._config.source):
            plan = self._config.plan
            state = LinkState(LinkPhase.CONNECTING, time.time(), "its process ended" if plan.first_epoch else "")
            self._first_link = LinkReport(state, plan.connections, plan.first_epoch)
        self._child.start()

    def stop(self) -> None:
        """Take no more frames; those in flight go on to their end.

        One that still loads has none, and would hear of it only when it has loaded: it is ended at once.
        """
        if self._child.is_alive and self._report is None:
            self._is_called_off = True
            self._child.kill()
        else:
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
        if self._child.returncode is None or self.has_finished or self._is_called_off:
            return False
        self._found_dead_s = self._found_dead_s or time.monotonic()
        return time.monotonic() - self._found_dead_s < _LAST_WORD_S
