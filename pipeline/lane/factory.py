"""Makes a lane from plain values: the same for a thread's and a process's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from posestream.pipeline.lane.lane import Lane, LanePlan
from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.publish.sink import PublishSink
from posestream.pipeline.wire.sockets import Addresses, ZmqContext
from posestream.stages.errors import OutputError
from posestream.stages.output.held import Held
from posestream.stages.output.jsonl import JsonlSink
from posestream.stages.output.sink import PictureSink, Sink
from posestream.stages.resume import next_seq
from posestream.stages.source.opening import SourceSettings, open_source

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
    """Make a lane; with `goes_on`, one that begins where the outputs of an earlier process end.

    Raises:
        OutputError: an output cannot be gone on with.
    """
    opened = open_source(source)
    sinks, picture_sinks = [*outputs.sinks(), *extra_sinks], outputs.picture_sinks()
    if plan.feed:
        # The last one: what was published and is not on the disk yet could never be asked for again.
        sinks.append(PublishSink(context, plan.feed, plan.published))
    helds: list[Held] = []
    if goes_on:
        for sink in sinks:
            if isinstance(sink, JsonlSink):
                sink.note_taken(json.loads(plan.last_line or "null"))
        helds = _resumed([*sinks, *picture_sinks], opened.name, plan)
        plan = replace(plan, run=_run_of(helds) or plan.run)
        opened = open_source(source, next_seq(helds, plan.first_seq))
    return Lane(plan, context, addresses, opened, sinks, picture_sinks, on_end, helds)


def _resumed(sinks: Iterable[Sink | PictureSink], source: str, plan: LanePlan) -> list[Held]:
    """Ask each output what it holds; those that keep nothing are left out."""
    helds = []
    for sink in sinks:
        held = sink.resume(source, plan.since_s)
        if held is None:
            continue
        model = plan.model if held.last is None else held.last.get("model", plan.model)
        if model != plan.model:
            raise OutputError(
                f"cannot go on with {sink.name}: it is of the network {model}, not of {plan.model}; choose that one "
                "(--model) or replace the output (--overwrite)"
            )
        helds.append(held)
    return helds


def _run_of(helds: Iterable[Held]) -> str | None:
    """Give the id of the run that the outputs are of, where one tells it."""
    return next((str(held.last["run"]) for held in helds if held.last is not None), None)
