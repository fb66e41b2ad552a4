"""Starts the parts, watches them, and stops them in order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from posestream.pipeline.counters import FrameCounts
from posestream.pipeline.dispatch_loop import DispatchLoop
from posestream.pipeline.errors import ExitCode, PipelineError, exit_code_of
from posestream.pipeline.lane import Lane
from posestream.pipeline.lane_state import LaneProgress
from posestream.pipeline.part import Part
from posestream.pipeline.replica import Replica
from posestream.pipeline.sockets import ZmqContext
from posestream.stages.errors import OutputError

__all__ = ["SourceReport", "Summary", "Supervisor"]

_log = logging.getLogger(__name__)

#: How long a stop may drain before what is in flight is dropped, in seconds.
_DRAIN_S = 20.0
#: How long the parts have to end once nothing is left to do, in seconds.
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What became of one source."""

    name: str
    counts: FrameCounts
    progress: LaneProgress
    paths: tuple[Path, ...]
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a whole run."""

    sources: tuple[SourceReport, ...]
    engine: str
    exit_code: ExitCode
    #: What stopped the run as a whole, if anything did.
    error: BaseException | None
    output_errors: tuple[OutputError, ...]


class Supervisor:
    """Owns the dispatcher's thread, the replicas and the lanes from start to end."""

    def __init__(
        self,
        context: ZmqContext,
        dispatch: DispatchLoop,
        make_replicas: Callable[[Callable[[], None]], Sequence[Replica]],
        make_lanes: Callable[[Callable[[], None]], Sequence[Lane]],
    ) -> None:
        self._context = context
        self._dispatch = dispatch
        self._changed = threading.Event()
        self._dispatch_part = Part("dispatch", dispatch.run, self._changed.set)
        self._replicas = make_replicas(self._changed.set)
        self._lanes = make_lanes(self._changed.set)
        self._drain_until_s: float | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Supervisor {self._lanes} {self._replicas} error={self._error!r}>"

    @property
    def lanes(self) -> Sequence[Lane]:
        """Every lane, in the order of the sources."""
        return self._lanes

    @property
    def engine(self) -> str:
        """What the replicas run on; empty until one is ready."""
        return next((replica.description for replica in self._replicas if replica.description), "")

    @property
    def is_running(self) -> bool:
        """True while a lane has work to do."""
        return any(lane.is_alive for lane in self._lanes)

    def counts(self, source: str) -> FrameCounts:
        """Give a source's counts as they are now."""
        return self._dispatch.counts(source)

    def start(self) -> None:
        """Start everything: first who listens, last who speaks."""
        self._dispatch_part.start()
        if not self._dispatch.is_listening.wait(_STOP_S):
            raise PipelineError("the dispatcher did not start") from self._dispatch_part.error
        for replica in self._replicas:
            replica.start()
        for lane in self._lanes:
            lane.start()

    def wait(self, timeout_s: float) -> None:
        """Wait until something has ended or time is up, and see to it."""
        self._changed.wait(timeout_s)
        self._changed.clear()
        self._watch()

    def stop(self) -> None:
        """Take no more frames; what is in flight goes on to its end."""
        if self._drain_until_s is None:
            self._drain_until_s = time.monotonic() + _DRAIN_S
        for lane in self._lanes:
            lane.stop()

    def close(self) -> Summary:
        """End every part and tell what became of the run.

        The order: lanes first, so that every file is closed while results can still come; then replicas, which
        have nothing left to do; then the dispatcher, to whom both said goodbye; the sockets' context last.
        """
        self.stop()
        deadline_s = time.monotonic() + _STOP_S
        if self.is_running:
            self._dispatch.abandon()
        ended = [lane.join(deadline_s) for lane in self._lanes]
        for replica in self._replicas:
            replica.stop()
        ended += [replica.join(deadline_s) for replica in self._replicas]
        self._dispatch.stop()
        ended.append(self._dispatch_part.join(max(0.0, deadline_s - time.monotonic())))
        if all(ended):
            self._context.term()
        else:
            # A thread that hangs in a foreign library still has its sockets; waiting for them would hang too.
            _log.warning("some threads did not end in time: %r", self)
        return self._summary()

    def _watch(self) -> None:
        """Notice parts that failed; what cannot go on is stopped, with everything so far kept."""
        crash = self._dispatch_part.error or next((lane.crash for lane in self._lanes if lane.crash), None)
        if crash is None and not any(replica.is_alive for replica in self._replicas):
            crash = next((replica.error for replica in self._replicas if replica.error), None)
        if crash is None and self._drain_until_s is not None and time.monotonic() > self._drain_until_s:
            _log.warning("gave up draining after %g s", _DRAIN_S)
            self._dispatch.abandon()
        if crash is not None and self._error is None:
            self._error = crash
            self.stop()
            self._dispatch.abandon()

    @property
    def has_crashed(self) -> bool:
        """True if a lane's thread or the dispatcher stopped on an error: waiting for the lanes would be in vain."""
        return self._dispatch_part.error is not None or any(lane.crash for lane in self._lanes)

    def _summary(self) -> Summary:
        self._watch()
        sources = tuple(
            SourceReport(lane.name, self.counts(lane.name), lane.progress, lane.paths, lane.source_error)
            for lane in self._lanes
        )
        output_errors = tuple(error for lane in self._lanes for error in lane.output_errors)
        return Summary(sources, self.engine, self._exit_code(), self._error, output_errors)

    def _exit_code(self) -> ExitCode:
        """Weigh what went wrong: the run as a whole, then outputs, then sources."""
        if self._error is not None:
            return exit_code_of(self._error)
        if any(lane.output_errors for lane in self._lanes):
            return ExitCode.OUTPUT
        codes = [exit_code_of(lane.source_error) for lane in self._lanes if lane.source_error]
        return min(codes, default=ExitCode.DONE)
