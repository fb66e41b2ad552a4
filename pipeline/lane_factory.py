"""Makes a lane from plain values: the same for a thread's and a process's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from posestream.pipeline.lane import Lane, LanePlan
from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.sockets import Addresses, ZmqContext
from posestream.stages.output import Sink
from posestream.stages.source import SourceSettings, open_source

__all__ = ["make_lane"]


def make_lane(
    plan: LanePlan,
    context: ZmqContext,
    addresses: Addresses,
    source: SourceSettings,
    outputs: LaneOutputs,
    on_end: Callable[[], None],
    extra_sinks: Sequence[Sink] = (),
    *,
    goes_on: bool = False,
) -> Lane:
    """Make a lane; with `goes_on`, one that begins where the outputs of an earlier process end."""
    sinks = [*outputs.sinks(), *extra_sinks]
    return Lane(plan, context, addresses, open_source(source), sinks, outputs.picture_sinks(), on_end)
