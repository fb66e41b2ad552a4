"""The second half of a lane: results → sequence → outputs → render → outputs of pictures."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import zmq
from numpy.typing import NDArray

from posestream.pipeline.errors import PipelineError
from posestream.pipeline.lane.sequencer import Sequencer
from posestream.pipeline.lane.sinks import Sinks
from posestream.pipeline.lane.state import POLL_MS, FrameRate, LaneState
from posestream.pipeline.wire.convert import poses_of
from posestream.pipeline.wire.envelope import Envelope
from posestream.pipeline.wire.identities import results_identity
from posestream.pipeline.wire.messages import Done, Dropped, Finished, FrameReady, LaneHello, Posed, Welcome
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, ZmqSocket, send, wait_for
from posestream.stages.items import Drop, Frame, FrameKey, Poses
from posestream.stages.message import MessageWriter
from posestream.stages.output.sink import Ended, PictureSink, Sink
from posestream.stages.render import Renderer, label_text

__all__ = ["OutputLoop", "RenderLoop"]


class OutputLoop:
    """Puts ended frames into order, makes their messages, and feeds the outputs that need no picture.

    Args:
        context: the process's sockets.
        lanes_address: where the dispatcher listens to lanes.
        render_address: where the renderer listens; None where there is none.
        source: the source's name.
        first_seq: the number of its first frame where it cannot be opened and so has none.
        lane: what the lane's threads share.
        make_writer: gives what makes the messages, told the number of the first one.
        sinks: the outputs.
    """

    def __init__(
        self,
        context: ZmqContext,
        lanes_address: str,
        render_address: str | None,
        source: str,
        first_seq: int,
        lane: LaneState,
        make_writer: Callable[[int], MessageWriter],
        sinks: Sinks[Sink],
    ) -> None:
        self._context = context
        self._lanes_address = lanes_address
        self._render_address = render_address
        self._source = source
        self._first_seq = first_seq
        self._lane = lane
        self._make_writer = make_writer
        self._sinks = sinks
        self._writer = make_writer(0)
        self._sequencer: Sequencer[Envelope] = Sequencer()

    def run(self) -> None:
        """Serve until every frame of the lane has ended."""
        with Sockets(self._context) as sockets:
            identity = results_identity(self._source)
            results = sockets.open(zmq.DEALER, connect=self._lanes_address, identity=identity, patience_ms=POLL_MS)
            render = sockets.open(zmq.PUSH, connect=self._render_address or "")
            try:
                self._serve(results, render)
            finally:
                self._lane.is_done.set()
                self._lane.may_begin.set()
                try:
                    self._sinks.close()
                finally:
                    if self._render_address:
                        send(render, Done())

    def _serve(self, results: ZmqSocket, render: ZmqSocket) -> None:
        while not self._lane.is_done.is_set():
            if self._lane.has_begun.wait(POLL_MS / 1000):
                self._begin(results)
                break
            if self._lane.leave_source(self._source):
                return
        while not self._lane.is_done.is_set():
            if (envelope := wait_for(results)) is not None:
                self._receive(envelope, render)

    def _begin(self, results: ZmqSocket) -> None:
        """Say hello, now that it is known where the source begins."""
        hello = LaneHello(self._source, False, False, None, self._first_seq)
        if self._lane.is_source_open:
            info = self._lane.info
            hello = LaneHello(self._source, info.is_live, info.keeps_newest, info.max_age_s, info.first_seq)
        self._writer = self._make_writer(self._lane.first_n)
        self._sequencer = Sequencer(hello.first_seq)
        send(results, hello)

    def _receive(self, envelope: Envelope, render: ZmqSocket) -> None:
        message = envelope.message
        if isinstance(message, Posed | Dropped):
            self._lane.store.begin(message.seq)
            for ready in self._sequencer.push(message.seq, envelope):
                self._end(ready, render)
        elif isinstance(message, Welcome):
            self._lane.widen(message.credits)
            self._lane.may_begin.set()
        elif isinstance(message, Finished):
            self._lane.is_done.set()
        else:
            raise PipelineError(f"{type(message).__name__} does not belong into a lane")

    def _end(self, envelope: Envelope, render: ZmqSocket) -> None:
        """Write one frame to the outputs and pass it on to the renderer, or let it go."""
        message = envelope.message
        assert isinstance(message, Posed | Dropped)  # noqa: S101 - nothing else goes into the sequencer
        store = self._lane.store
        ended = self._ended(store.frame(message.seq), envelope)
        self._lane.progress.note(ended.frame, message, time.monotonic())
        self._sinks.open(self._lane.info)
        with self._lane.progress.timed("output"):
            self._sinks.write(lambda sink: sink.write(ended))
        if self._render_address:
            store.end(ended)
            send(render, FrameReady(message.seq))
        else:
            store.release(message.seq)

    def _ended(self, frame: Frame, envelope: Envelope) -> Ended:
        message = envelope.message
        if isinstance(message, Posed):
            poses = poses_of(message, envelope.payloads)
            return Ended(frame, poses, self._writer.poses(frame, poses, time.time()))
        assert isinstance(message, Dropped)  # noqa: S101 - nothing else goes into the sequencer
        drop = Drop(FrameKey(message.source, message.seq), message.stage, message.reason)
        return Ended(frame, drop, self._writer.drop(frame, drop, time.time()))


class RenderLoop:
    """Draws people into their pictures, feeds the outputs of pictures, and lets the frames go."""

    def __init__(
        self, context: ZmqContext, in_address: str, lane: LaneState, renderer: Renderer, sinks: Sinks[PictureSink]
    ) -> None:
        self._context = context
        self._in_address = in_address
        self._lane = lane
        self._renderer = renderer
        self._sinks = sinks
        self._rate = FrameRate()

    def run(self) -> None:
        """Serve until the outputs' thread says that nothing more comes."""
        with Sockets(self._context) as sockets:
            ready = sockets.open(zmq.PULL, bind=self._in_address, patience_ms=POLL_MS)
            try:
                self._serve(ready)
            finally:
                self._sinks.close()

    def _serve(self, ready: ZmqSocket) -> None:
        while True:
            envelope = wait_for(ready)
            if envelope is None:
                continue
            message = envelope.message
            if isinstance(message, Done):
                return
            if not isinstance(message, FrameReady):
                raise PipelineError(f"{type(message).__name__} does not belong into a lane")
            self._render(self._lane.store.ended(message.seq))

    def _render(self, ended: Ended) -> None:
        with self._lane.progress.timed("render"):
            picture = self._draw(ended)
            self._sinks.open(self._lane.info)
            self._sinks.write(lambda sink: sink.write(ended, picture))
        self._lane.store.release(ended.frame.key.seq)

    def _draw(self, ended: Ended) -> NDArray[np.uint8] | None:
        """Draw a frame's people and a label; a dropped frame stays plain."""
        rate = self._rate.note(time.monotonic())
        if ended.frame.picture is None:
            return None
        picture = ended.frame.picture.bgr()
        if isinstance(ended.outcome, Poses):
            self._renderer.draw(picture, ended.outcome, label_text(rate or None, len(ended.outcome.people)))
        return picture
