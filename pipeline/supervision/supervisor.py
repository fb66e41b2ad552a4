"""Starts the parts, watches them, starts them again, and stops them in order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.dispatch.in_flight import ReplicaView
from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.errors import ReplicaError
from posestream.pipeline.summary import SourceReport, Summary
from posestream.pipeline.supervision.handles import LaneHandle, LinkReport, ReplicaHandle, is_killed
from posestream.pipeline.supervision.lanes import Lanes
from posestream.pipeline.supervision.part import Part
from posestream.pipeline.supervision.patience import Patience
from posestream.pipeline.supervision.replica_watch import ReplicaWatch
from posestream.pipeline.supervision.services import Services
from posestream.pipeline.supervision.slot import Slot
from posestream.pipeline.supervision.verdict import exit_code, fate, is_cut, no_replica_left
from posestream.pipeline.wire.sockets import ZmqContext

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)


class Supervisor:
    """Owns the dispatcher's thread, the replicas and the lanes from start to end.

    Args:
        context: of the sockets of this process; terminated at the end.
        dispatch: the dispatcher's loop.
        replicas: their places.
        lanes: their places, to which more may come.
        changed: set whenever a thread has ended, so that nothing waits for the next look.
        clean_up: called at the very end.
        patience: how long the parts are waited for.
        services: what else the head offers; ended after all others, before the context.
    """

    def __init__(
        self,
        context: ZmqContext,
        dispatch: DispatchLoop,
        replicas: Sequence[Slot[ReplicaHandle]],
        lanes: Lanes,
        changed: threading.Event,
        clean_up: Callable[[], None],
        patience: Patience | None = None,
        services: Services | None = None,
    ) -> None:
        self._context = context
        #: What the head offers beside its work.
        self.services = services or Services()
        self._clean_up = clean_up
        self._dispatch = dispatch
        self._changed = changed
        self._dispatch_part = Part("dispatch", dispatch.run, changed.set)
        self._replicas = replicas
        self._lanes = lanes
        self._patience = patience or Patience()
        self._replica_watch = ReplicaWatch(replicas, dispatch, self._patience)
        self._drain_until_s: float | None = None
        #: How each live source's connection was when the run was stopped.
        self._links: dict[str, LinkReport | None] = {}
        self._is_abandoned = False
        #: Lanes that did not end by themselves.
        self._hung: set[str] = set()
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Supervisor {self._lanes} {self._replicas} error={self._error!r}>"

    @property
    def lanes(self) -> list[LaneHandle]:
        """Every lane, in the order of the sources."""
        return self._lanes.parts

    @property
    def places(self) -> Lanes:
        """The lanes' places, for those who let sources come and go."""
        return self._lanes

    @property
    def replicas(self) -> list[ReplicaHandle]:
        """Every replica of our own."""
        return [slot.part for slot in self._replicas]

    @property
    def engine(self) -> str:
        """What the replicas run on; empty until one is ready."""
        return next((replica.description for replica in self.replicas if replica.description), "")

    @property
    def is_running(self) -> bool:
        """True while a lane has work to do."""
        if self._drain_until_s is not None and time.monotonic() > self._drain_until_s + self._patience.abandon_s:
            return False  # a lane that hangs would be waited for for ever; `close` ends it
        if self._lanes.is_open_ended and not self._is_stopping:
            return True
        return self._lanes.are_at_work(is_stopping=self._is_stopping)

    @property
    def is_taking(self) -> bool:
        """True until it stops: frames of new sources are taken."""
        return not self._is_stopping

    @property
    def has_crashed(self) -> bool:
        """True if the dispatcher or a lane of threads stopped on an error: waiting would be in vain."""
        return self._crash is not None

    def counts(self, source: str) -> FrameCounts:
        """Give a source's counts as they are now."""
        return self._dispatch.counts(source)

    def waiting(self, source: str) -> int:
        """Count the frames of a source that wait for a replica."""
        return self._dispatch.waiting(source)

    def restarts(self, source: str) -> int:
        """Count how often a source's lane was started again."""
        return self._lanes[source].restarts

    def is_cut(self, source: str) -> bool:
        """True if a source's lane died and none went on: the last frames that are counted may not be written."""
        return is_cut(self._lanes[source], self._hung)

    @property
    def replica_restarts(self) -> int:
        """How often replicas were started again."""
        return sum(slot.restarts for slot in self._replicas)

    @property
    def replica_views(self) -> list[ReplicaView]:
        """How each replica is, those of other hosts included."""
        return self._dispatch.views

    @property
    def redelivered(self) -> int:
        """How often a frame was handed out again."""
        return self._dispatch.redelivered

    @property
    def recovered(self) -> int:
        """How many results came of frames that had been handed out again."""
        return self._dispatch.recovered

    @property
    def malformed(self) -> int:
        """How many messages were none of ours."""
        return self._dispatch.malformed + self.services.malformed()

    def start(self) -> None:
        """Start everything: first who listens, last who speaks."""
        self._dispatch_part.start()
        while not self._dispatch.is_listening.wait(0.1):
            if self._dispatch_part.error is not None:
                raise self._dispatch_part.error
        self.services.publishing.start()
        for replica in self.replicas:
            replica.start()
        self._lanes.start()

    def wait(self, timeout_s: float) -> None:
        """Wait until something has ended or time is up, and see to it."""
        self._changed.wait(timeout_s)
        self._changed.clear()
        self._watch()

    def stop(self) -> None:
        """Take no more frames; what is in flight goes on to its end."""
        if not self._is_stopping:
            self._drain_until_s = time.monotonic() + self._patience.drain_s
            # What a source was like while it was wanted; afterwards every one has ended.
            self._links = {lane.name: lane.link for lane in self.lanes}
            self._dispatch.wind_down()
        for lane in self.lanes:
            lane.stop()

    def close(self) -> Summary:
        """End every part and tell what became of the run.

        The order: lanes first, so that every file is closed while results can still come; then replicas, which
        have nothing left to do; then the dispatcher, to whom both said goodbye; then the publisher, which sends what
        the lanes have left it; the sockets' context last.
        """
        self.stop()
        deadline_s = time.monotonic() + self._patience.stop_s
        if self.is_running:
            self._dispatch.abandon()
        ended = [self._end_lane(lane, deadline_s) for lane in self.lanes]
        ended.append(self._replica_watch.end(deadline_s))
        summary = self._summary()
        self._dispatch.stop()
        # It ends at once, however long the others took.
        ended.append(self._dispatch_part.join(max(1.0, deadline_s - time.monotonic())))
        self.services.close()
        # A thread that hangs in a foreign library still has its sockets; waiting for them would hang too.
        if not all(ended):
            _log.warning("some threads did not end in time: %r", self)
        elif not (self._replica_watch.has_left or any(lane.has_left_source for lane in self.lanes)):
            self._context.term()
        self._clean_up()
        return summary

    def clean_up(self) -> None:
        """Remove what would outlive this process; for those who end it without `close`."""
        self._clean_up()

    @property
    def _is_stopping(self) -> bool:
        return self._drain_until_s is not None

    @property
    def _crash(self) -> BaseException | None:
        return self._dispatch_part.error or next((lane.crash for lane in self.lanes if lane.crash), None)

    def _watch(self) -> None:
        """Notice what failed: start it again, or stop what cannot go on, with everything so far kept."""
        now_s = time.monotonic()
        self.services.publishing.watch(now_s)
        if not self._is_abandoned:
            self._replica_watch.watch(now_s, is_stopping=self._is_stopping)
        if self._is_stopping:
            # Nobody follows a lane any more, but none that hangs may hold up the end.
            self._hung.update(self._lanes.end_silent())
        else:
            for source in self._lanes.watch(now_s):
                self._dispatch.settle(source)
            self._lanes.tidy(self.counts)
        fatal = self._crash or no_replica_left(self._replicas)
        if fatal is not None and self._error is None:
            self._error = fatal
            self.stop()
            self._abandon()
        if self._drain_until_s is not None and not self._is_abandoned:
            if not self._replica_watch.has_begun:
                self._abandon()  # nobody holds anything, and nobody is there who could soon
            elif now_s > self._drain_until_s:
                self._end_draining()

    def _abandon(self) -> None:
        """Let every frame in flight end as dropped."""
        self._is_abandoned = True
        self._dispatch.abandon()

    def _end_draining(self) -> None:
        """Drop what was not done in time; where nobody was there to do it, that is a failure."""
        left = sum(self.counts(slot.name).in_flight for slot in self._lanes)
        if left and not any(view.credits for view in self.replica_views):
            self._error = self._error or ReplicaError(f"no replica was left to do the last {left} frames")
        elif left:
            _log.warning("%d frames were not done within %g s; they are dropped", left, self._patience.drain_s)
        self._abandon()

    def _summary(self) -> Summary:
        # A lane that stopped on an error may have ended altogether since the last look.
        self._error = self._error or self._crash
        sources = tuple(
            SourceReport(
                slot.part.name,
                self.counts(slot.part.name),
                slot.part.progress,
                slot.part.paths,
                slot.part.source_error or fate(slot, self._hung),
                slot.restarts,
                self._links.get(slot.name),
                is_cut(slot, self._hung),
            )
            for slot in self._lanes
        )
        output_errors = (
            *(error for lane in self.lanes for error in lane.output_errors),
            *self.services.publishing.errors,
        )
        return Summary(
            sources,
            self.engine,
            exit_code(
                self._error,
                [*self._lanes],
                self._hung,
                self.services.publishing.errors,
                self._lanes.guests,
                self._lanes.past.exit_codes,
            ),
            self._error,
            output_errors,
            self.replica_restarts,
            self.redelivered,
            len(self._lanes.past),
            self._lanes.past.counts,
        )

    def _end_lane(self, lane: LaneHandle, deadline_s: float) -> bool:
        """Wait for a lane's end, and kill it where it does not come; False if even that does not help."""
        if lane.join(deadline_s):
            return True
        self._hung.add(lane.name)
        return is_killed(lane)
