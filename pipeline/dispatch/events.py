"""What each message to the dispatcher means: the event it stands for, and what is kept of it on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from posestream.pipeline.dispatch.actions import Action
from posestream.pipeline.dispatch.delivery import Delivery
from posestream.pipeline.dispatch.dispatcher import Dispatcher
from posestream.pipeline.dispatch.replica_ports import ReplicaPorts
from posestream.pipeline.dispatch.told import Report, Told
from posestream.pipeline.wire.convert import is_whole
from posestream.pipeline.wire.envelope import Envelope
from posestream.pipeline.wire.messages import (
    PROTOCOL,
    Failed,
    Heard,
    Heartbeat,
    Join,
    LaneDrop,
    LaneEnd,
    LaneHello,
    LaneReport,
    OtherProtocol,
    ReplicaBye,
    ReplicaHello,
    Result,
    Serve,
    Task,
)
from posestream.stages.items import Drop, FrameKey

__all__ = ["Events"]

_log = logging.getLogger(__name__)

#: How much longer than a replica had a frame it may say to have worked on it, in seconds: clocks differ a little.
_CLOCKS_APART_S = 1.0
#: What replicas say once they know whom they serve.
_OfReplicas = ReplicaHello | Heartbeat | Result | Failed | ReplicaBye


class Events:
    """Tells the `Dispatcher` what a message says. Whether its sender may say it was asked before."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        delivery: Delivery,
        replicas: ReplicaPorts,
        told: Told,
        serve: Serve,
        ignore: Callable[[str], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._delivery = delivery
        self._replicas = replicas
        self._told = told
        self._serve = serve
        #: Counts what turns out to be none of ours.
        self._ignore = ignore
        self._handlers = self._table()

    def knows(self, message: Any) -> bool:
        """Tell whether a message is one that the dispatcher hears."""
        return type(message) in self._handlers

    def do(self, envelope: Envelope, now_s: float) -> Sequence[Action]:
        """Give what is to be done about a message; one that is not known is a KeyError."""
        message = envelope.message
        if isinstance(message, _OfReplicas) and message.head != self._serve.head:
            return self._of_another_head(message)
        return self._handlers[type(message)](envelope, now_s)

    def _table(self) -> dict[type, Callable[[Envelope, float], Sequence[Action]]]:
        """The event of each message."""
        dispatcher = self._dispatcher

        def event(call: Callable[[Any, float], Sequence[Action]]) -> Callable[[Envelope, float], Sequence[Action]]:
            return lambda envelope, now_s: call(envelope.message, now_s)

        return {
            LaneHello: event(self._lane_hello),
            Task: self._task,
            LaneDrop: event(lambda m, _: dispatcher.frame_dropped(Drop(FrameKey(m.source, m.seq), m.stage, m.reason))),
            LaneEnd: event(lambda m, _: dispatcher.lane_ended(m.source)),
            LaneReport: self._lane_report,
            Join: event(self._join),
            ReplicaHello: event(self._replica_hello),
            Heartbeat: event(self._heartbeat),
            Result: self._result,
            Failed: event(self._failed),
            ReplicaBye: event(self._replica_bye),
        }

    def _of_another_head(self, message: _OfReplicas) -> Sequence[Action]:
        """Take nothing of a replica that serves a head that was here before; it is told so when it beats."""
        _log.debug("%s of %s, which serves another head", type(message).__name__, message.replica)
        if isinstance(message, Heartbeat | ReplicaHello):
            self._replicas.send(message.replica, Heard(self._serve.head))
        return ()

    def _lane_hello(self, hello: LaneHello, _now_s: float) -> Sequence[Action]:
        actions = self._dispatcher.lane_joined(
            hello.source,
            is_live=hello.is_live,
            keeps_newest=hello.keeps_newest,
            max_age_s=hello.max_age_s,
            first_seq=hello.first_seq,
        )
        self._delivery.welcome(hello.source, self._dispatcher.credits, keeps_newest=hello.keeps_newest)
        return actions

    def _lane_report(self, envelope: Envelope, _now_s: float) -> Sequence[Action]:
        report = envelope.message
        assert isinstance(report, LaneReport)  # noqa: S101 - the table of handlers says so
        self._told.reports[report.source] = Report(report, envelope.payloads, self._told.attention.seconds)
        return ()

    def _join(self, join: Join, _now_s: float) -> Sequence[Action]:
        if join.protocol == PROTOCOL:
            self._replicas.send(join.replica, self._serve)
        else:
            self._replicas.send(join.replica, OtherProtocol(PROTOCOL))
            self._ignore(f"{join.replica} speaks protocol {join.protocol}, this head {PROTOCOL}: another version")
        return ()

    def _replica_hello(self, hello: ReplicaHello, now_s: float) -> Sequence[Action]:
        self._told.describe(hello.replica, hello.description, self._dispatcher.replicas)
        return self._dispatcher.replica_joined(hello.replica, hello.credits, now_s, hello.batch, hello.fresh)

    def _replica_bye(self, bye: ReplicaBye, now_s: float) -> Sequence[Action]:
        self._told.say_goodbye(bye.replica, bye.error, self._dispatcher.replicas)
        leave = self._dispatcher.replica_lost if bye.has_failed else self._dispatcher.replica_left
        return leave(bye.replica, now_s)

    def _heartbeat(self, beat: Heartbeat, now_s: float) -> Sequence[Action]:
        self._replicas.send(beat.replica, Heard(self._serve.head))
        return self._dispatcher.replica_heard(
            beat.replica,
            now_s,
            is_loading=beat.is_loading,
            credit=beat.credits,
            batch=beat.batch,
            fresh=beat.fresh,
            held=beat.held,
        )

    def _task(self, envelope: Envelope, now_s: float) -> Sequence[Action]:
        task = envelope.message
        assert isinstance(task, Task)  # noqa: S101 - the table of handlers says so
        key = FrameKey(task.source, task.seq)
        if len(envelope.payloads) != 1:
            self._ignore(f"a task of {task.source} with {len(envelope.payloads)} pictures")
            return ()
        if self._dispatcher.expects(key):
            self._delivery.keep(key, task, envelope.payloads[0])
        return self._dispatcher.frame_taken(key, task.captured_s, now_s, (task.height, task.width))

    def _result(self, envelope: Envelope, now_s: float) -> Sequence[Action]:
        result = envelope.message
        assert isinstance(result, Result)  # noqa: S101 - the table of handlers says so
        posed = result.posed
        key = FrameKey(posed.source, posed.seq)
        held_s = self._dispatcher.held_s(result.replica, key, now_s)
        is_possible = held_s is None or posed.infer_s + posed.group_s <= held_s + _CLOCKS_APART_S
        if not is_possible or not is_whole(posed, envelope.payloads, self._serve.keypoints):
            self._ignore(f"a result of {result.replica} that cannot be right")
            return self._dispatcher.failed(result.replica, key, now_s)
        return self._dispatcher.result(result.replica, key, posed.infer_s, now_s)

    def _failed(self, failed: Failed, now_s: float) -> Sequence[Action]:
        key = FrameKey(failed.source, failed.seq)
        if self._dispatcher.held_s(failed.replica, key, now_s) is not None:
            _log.warning("%s could not do frame %d of %s: %s", failed.replica, failed.seq, failed.source, failed.error)
        else:
            # Whoever has no frame could fill the log with any number of them.
            self._ignore(f"{failed.replica} could not do a frame that it has not got")
        return self._dispatcher.failed(failed.replica, key, now_s)
