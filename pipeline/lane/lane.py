"""A lane: one source from its decoder to its outputs, as threads joined by sockets."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posestream.models.layout import LAYOUTS
from posestream.pipeline.errors import PipelineError
from posestream.pipeline.lane.intake import DecodeLoop, PreprocessLoop
from posestream.pipeline.lane.outflow import OutputLoop, RenderLoop
from posestream.pipeline.lane.sinks import OutputFailures, Sinks
from posestream.pipeline.lane.state import LaneProgress, LaneState
from posestream.pipeline.supervision.handles import LinkReport
from posestream.pipeline.supervision.part import Part
from posestream.pipeline.wire.sockets import Addresses, ZmqContext
from posestream.stages.errors import OutputError
from posestream.stages.message import MessageWriter
from posestream.stages.output.display import DisplaySink
from posestream.stages.output.held import Held
from posestream.stages.output.sink import PictureSink, Sink
from posestream.stages.preprocess import Preprocess
from posestream.stages.render import Renderer
from posestream.stages.source.opening import Source

__all__ = ["Lane", "LanePlan"]


@dataclass(frozen=True, slots=True)
class LanePlan:
    """What a lane is to do, in plain values."""

    run: str
    net_height: int
    #: Width and height of a network input are multiples of this.
    multiple: int
    model: str
    layout: str
    #: Frames in flight at most.
    #: 0: as many as keep the replicas busy.
    window: int
    #: The seq that a live source goes on with after its lane died.
    first_seq: int = 0
    #: The epoch that it goes on with then.
    first_epoch: int = 0
    #: Its connections that gave frames until then.
    connections: int = 0
    #: A lane that goes on does so with outputs that were last written since then, in seconds since 1970.
    since_s: float = 0.0
    #: The last message of the source that standard output took, as JSON; empty: none.
    last_line: str = ""
    #: Where the head's publisher takes messages; empty where nothing is published.
    feed: str = ""
    #: What a lane that goes on must know of the last message that was published (`publish.sink.LAST_KEYS`).
    published: dict[str, Any] = field(default_factory=dict)


class Lane:
    """Runs one source.

    Args:
        plan: what to do.
        context: the process's sockets.
        addresses: where the dispatcher listens.
        source: the source.
        sinks: outputs that need no picture.
        picture_sinks: outputs of rendered pictures.
        on_end: called whenever one of the lane's threads has ended.
        helds: what the outputs hold of an earlier process; the source begins with what one of them lacks.
    """

    def __init__(
        self,
        plan: LanePlan,
        context: ZmqContext,
        addresses: Addresses,
        source: Source,
        sinks: Sequence[Sink],
        picture_sinks: Sequence[PictureSink],
        on_end: Callable[[], None],
        helds: Sequence[Held] = (),
    ) -> None:
        self._source = source
        self._state = LaneState(plan.window)
        self._failures = OutputFailures(len(sinks) + len(picture_sinks), self.stop)
        self._sinks = Sinks(sinks, self._failures)
        self._picture_sinks = Sinks(picture_sinks, self._failures)
        base = f"inproc://{plan.run}/{source.name}"
        preprocess = PreprocessLoop(
            context,
            f"{base}/frames",
            addresses.lanes,
            source.name,
            Preprocess(plan.net_height, plan.multiple),
            self._state,
            keep_pictures=bool(picture_sinks),
        )
        output = OutputLoop(
            context,
            addresses.lanes,
            f"{base}/ended" if picture_sinks else None,
            source.name,
            plan.first_seq,
            self._state,
            functools.partial(MessageWriter, plan.run, source.name, plan.model, plan.layout),
            self._sinks,
        )
        decode = DecodeLoop(context, f"{base}/frames", source, self._state, helds, plan.first_seq, plan.first_epoch)
        self._plan = plan
        self._decode = self._part("decode", decode.run, on_end)
        self._parts = [
            self._decode,
            self._part("preprocess", preprocess.run, on_end),
            self._part("output", output.run, on_end),
        ]
        if picture_sinks:
            renderer = Renderer(LAYOUTS[plan.layout])
            render = RenderLoop(context, f"{base}/ended", self._state, renderer, self._picture_sinks)
            self._parts.append(self._part("render", render.run, on_end))

    def __repr__(self) -> str:
        return f"<Lane {self.name} {self._state.store} {[part for part in self._parts if part.is_alive]}>"

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    @property
    def frame_count(self) -> int | None:
        """How many frames to expect; None until the source is open, and where it does not tell."""
        return self._state.info.frame_count if self._state.is_source_open else None

    @property
    def display_sinks(self) -> list[DisplaySink]:
        """Those of its outputs that the main thread must show."""
        return [sink for sink in self._picture_sinks.all if isinstance(sink, DisplaySink)]

    @property
    def progress(self) -> LaneProgress:
        """What its outputs have seen."""
        return self._state.progress

    @property
    def is_alive(self) -> bool:
        """True until every thread has ended, but for one that hangs in a source that nobody wants any more."""
        return any(
            part.is_alive
            for part in self._parts
            if part is not self._decode or not self._state.has_left_source.is_set()
        )

    @property
    def has_left_source(self) -> bool:
        """True if it ended without its source's thread, which hangs and keeps its sockets."""
        return self._state.has_left_source.is_set() and self._decode.is_alive

    @property
    def link(self) -> LinkReport | None:
        """How a live source's connection is; None for other sources."""
        link = self._source.link
        if link.now is None:
            return None
        return LinkReport(
            link.now, self._plan.connections + link.connections, self._plan.first_epoch + link.connections
        )

    @property
    def source_error(self) -> BaseException | None:
        """What ended the source early, or kept it from opening."""
        return self._decode.error

    @property
    def crash(self) -> BaseException | None:
        """What stopped another of its threads: the lane cannot finish."""
        failed = [part for part in self._parts if part is not self._decode and part.error]
        # The first one: others then fail because it reads or sends no more.
        return min(failed, key=lambda part: part.failed_s).error if failed else None

    @property
    def output_errors(self) -> list[OutputError]:
        """Outputs that failed."""
        return self._failures.errors

    @property
    def paths(self) -> tuple[Path, ...]:
        """What was written."""
        return self._sinks.paths + self._picture_sinks.paths

    def start(self) -> None:
        """Start every thread; the dispatcher listens already."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Take no more frames; those in flight go on to their end."""
        self._state.stop()
        self._source.link.stop()

    def pause(self) -> None:
        """Take no frames until `resume`: a recording and standard input wait, a camera's connection is dropped."""
        self._state.paused.set()
        self._source.link.pause()

    def resume(self) -> None:
        """Take frames again."""
        self._state.paused.clear()
        self._source.link.resume()

    @property
    def has_died(self) -> bool:
        """Never: threads end together with the head."""
        return False

    @property
    def is_silent(self) -> bool:
        """Never: a thread that hangs cannot be replaced."""
        return False

    @property
    def death(self) -> BaseException:
        """What ended it, where something did."""
        return self.crash or PipelineError(f"the lane of {self.name} has not died")

    def kill(self) -> None:
        """Wait for no more results; threads cannot be ended."""
        self.abort()

    def abort(self) -> None:
        """Wait for no more results: nobody is left who could send them. The outputs are closed."""
        self.stop()
        self._state.is_done.set()

    def join(self, deadline_s: float) -> bool:
        """Wait until every thread has ended; False if one has not by the monotonic clock's `deadline_s`.

        A source that hangs is not waited for once the others have given it up.
        """
        others = [part for part in self._parts if part is not self._decode]
        if not all(part.join(max(0.0, deadline_s - time.monotonic())) for part in others):
            return False
        return self._state.has_left_source.is_set() or self._decode.join(max(0.0, deadline_s - time.monotonic()))

    def _part(self, name: str, run: Callable[[], None], on_end: Callable[[], None]) -> Part:
        return Part(f"{self.name}/{name}", run, on_end)
