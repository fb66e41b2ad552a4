"""What runs in a lane's process: the lane, its reports, and what the head asks of it."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import zmq
from pydantic import TypeAdapter

from posestream.pipeline.errors import ExitCode, exit_code_of
from posestream.pipeline.lane.factory import make_lane
from posestream.pipeline.lane.lane import Lane, LanePlan
from posestream.pipeline.lane.windows import open_display
from posestream.pipeline.latency import STAGES
from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.settings import OutputTable
from posestream.pipeline.supervision.parent import Parent
from posestream.pipeline.supervision.process import PAUSE, RESUME, STOP
from posestream.pipeline.wire.identities import report_identity
from posestream.pipeline.wire.messages import LaneReport
from posestream.pipeline.wire.sockets import Addresses, Sockets, ZmqContext, ZmqSocket, send
from posestream.stages.errors import OutputError, SourceError
from posestream.stages.source.opening import SourceSettings

__all__ = ["CONFIG", "LaneConfig", "run_lane"]

#: Time between two reports, in seconds: a lane that falls silent for long hangs.
_REPORT_S = 0.2


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """What the process is told."""

    plan: LanePlan
    addresses: Addresses
    source: SourceSettings
    outputs: OutputTable
    #: True: go on where an earlier process's outputs end.
    goes_on: bool


#: How the head hands it over.
CONFIG = TypeAdapter(LaneConfig)


def run_lane(settings: Any, parent: Parent) -> ExitCode:
    """Run a lane to its end: what runs in the process."""
    config = CONFIG.validate_python(settings)
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
        # Whoever was not heard still loads: it has taken no frame and may be ended at once, and the head is patient.
        _report(lane, reports, is_final=False)
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
        link.next_epoch if link else 0,
    )
    send(reports, message, [seen.latency[stage].counts for stage in STAGES])
