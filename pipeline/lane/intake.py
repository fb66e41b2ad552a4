"""The first half of a lane: decode → preprocess → tasks for the dispatcher."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence

import zmq

from posestream.pipeline.errors import PipelineError
from posestream.pipeline.lane.state import POLL_MS, LaneState
from posestream.pipeline.wire.convert import task_of
from posestream.pipeline.wire.identities import tasks_identity
from posestream.pipeline.wire.messages import Begun, Done, FrameReady, LaneDrop, LaneEnd, Recall
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, ZmqSocket, receive, send
from posestream.stages.errors import SourceError
from posestream.stages.items import Drop, Frame, Reason, Stage
from posestream.stages.output.held import Held
from posestream.stages.preprocess import Preprocess
from posestream.stages.resume import go_on
from posestream.stages.source.opening import Source

__all__ = ["DecodeLoop", "PreprocessLoop"]

_log = logging.getLogger(__name__)

#: Where the newest frame wins, one that waits for a replica is replaced so many times before it would be too old: often
#: enough to be fresh when its turn comes, and not so often that most of what was scaled is thrown away.
_REFRESHES = 4
#: How long it waits at most before it is replaced, however old it may become, in seconds.
_SLOWEST_REFRESH_S = 0.125


class DecodeLoop:
    """Takes frames off the source into the lane's store, one whenever there is room.

    `helds` is what the outputs hold of an earlier process, `first_seq` and `first_epoch` what a live source goes on
    with.
    """

    def __init__(
        self,
        context: ZmqContext,
        out_address: str,
        source: Source,
        lane: LaneState,
        helds: Sequence[Held] = (),
        first_seq: int = 0,
        first_epoch: int = 0,
    ) -> None:
        self._context = context
        self._out_address = out_address
        self._source = source
        self._lane = lane
        self._helds = helds
        self._first_seq = first_seq
        self._first_epoch = first_epoch

    def run(self) -> None:
        """Read the source to its end, or until stopped."""
        with Sockets(self._context) as sockets:
            out = sockets.open(zmq.PUSH, connect=self._out_address)
            try:
                self._read(self._begin(), out)
            except SourceError as error:
                # One that breaks while nobody wants more of it has not failed.
                if not self._lane.stopping.is_set():
                    raise
                _log.debug("after the stop: %s", error)
            finally:
                self._lane.has_read.set()
                self._lane.has_begun.set()
                send(out, Done())
                self._source.close()

    def _begin(self) -> Iterator[Frame]:
        """Open the source and give its frames from the first one on that some output lacks."""
        info = self._source.open()
        stopping = self._lane.stopping
        beginning = go_on(info, self._source.frames(), self._helds, self._first_seq, stopping.is_set, self._first_epoch)
        self._lane.begin(beginning.info, beginning.first_n)
        return beginning.frames

    def _read(self, frames: Iterator[Frame], out: ZmqSocket) -> None:
        while self._is_wanted():
            frame = self._next(frames)
            if frame is None or self._lane.has_left_source.is_set():
                return
            self._lane.store.put(frame)
            send(out, FrameReady(frame.key.seq))

    def _next(self, frames: Iterator[Frame]) -> Frame | None:
        if self._has_reader:
            # What is seen here is only how long its next frame was waited for.
            return next(frames, None)
        with self._lane.progress.timed("decode"):
            return next(frames, None)

    @property
    def _has_reader(self) -> bool:
        """True where a thread of the source's own decodes, and stands still while it is paused."""
        return self._source.link.now is not None

    def _is_wanted(self) -> bool:
        """Wait until one more frame is wanted, so that a slow stage makes the source wait; False when stopping."""
        lane, timeout_s = self._lane, POLL_MS / 1000
        while not lane.stopping.is_set():
            if lane.paused.is_set() and not self._has_reader:
                lane.stopping.wait(timeout_s)
            elif self._has_room(timeout_s):
                return not lane.stopping.is_set()
        return False

    def _has_room(self, timeout_s: float) -> bool:
        """Wait a while for room, and for the turn of a frame where only the newest counts."""
        info, store = self._lane.info, self._lane.store
        if not info.keeps_newest:
            return store.wait_for_room(timeout_s)
        refresh_s = min((info.max_age_s or math.inf) / _REFRESHES, _SLOWEST_REFRESH_S)
        return store.wait_for_turn(refresh_s, timeout_s)


class PreprocessLoop:
    """Makes network inputs and offers them to the dispatcher; sends one again when it is recalled."""

    def __init__(
        self,
        context: ZmqContext,
        in_address: str,
        lanes_address: str,
        source: str,
        preprocess: Preprocess,
        lane: LaneState,
        *,
        keep_pictures: bool,
    ) -> None:
        self._context = context
        self._in_address = in_address
        self._lanes_address = lanes_address
        self._source = source
        self._preprocess = preprocess
        self._lane = lane
        self._store = lane.store
        self._keep_pictures = keep_pictures

    def run(self) -> None:
        """Serve until the lane is done: a recall can come as long as frames are in flight."""
        with Sockets(self._context) as sockets:
            ready = sockets.open(zmq.PULL, bind=self._in_address)
            identity = tasks_identity(self._source)
            tasks = sockets.open(zmq.DEALER, connect=self._lanes_address, identity=identity)
            self._lane.may_begin.wait()
            try:
                self._serve(ready, tasks)
            finally:
                # If this was an error, what has ended is still written, and nothing more will come.
                self._lane.is_done.set()

    def _serve(self, ready: ZmqSocket, tasks: ZmqSocket) -> None:
        poller = zmq.Poller()
        poller.register(ready, zmq.POLLIN)
        poller.register(tasks, zmq.POLLIN)
        while not self._lane.is_done.is_set():
            if not self._lane.has_left_source.is_set() and self._lane.leave_source(self._source):
                send(tasks, LaneEnd(self._source))
            for socket, _ in poller.poll(POLL_MS):
                message = receive(socket).message
                if isinstance(message, FrameReady):
                    self._prepare(tasks, self._store.frame(message.seq))
                elif isinstance(message, Begun):
                    self._store.begin(message.seq)
                elif isinstance(message, Recall):
                    self._offer(tasks, message.seq)
                elif isinstance(message, Done):
                    send(tasks, LaneEnd(self._source))
                else:
                    raise PipelineError(f"{type(message).__name__} does not belong into a lane")

    def _prepare(self, tasks: ZmqSocket, frame: Frame) -> None:
        """Make a frame's network input and offer it; a frame without a picture is dropped."""
        if frame.picture is None:
            self._drop(tasks, Drop(frame.key, Stage.DECODE, frame.lost))
            return
        try:
            with self._lane.progress.timed("preprocess"):
                net_input = self._preprocess(frame)
        except (ValueError, OSError) as error:
            # FFmpeg refuses a few exotic pixel formats only now; the next frame may be another matter.
            _log.warning("frame %d of %s cannot be scaled: %s", frame.key.seq, frame.key.source, error)
            # A renderer could not make more of it.
            self._store.drop_picture(frame.key.seq)
            self._drop(tasks, Drop(frame.key, Stage.PREPROCESS, Reason.UNDECODABLE))
            return
        self._store.keep_input(frame.key.seq, net_input, keep_picture=self._keep_pictures)
        self._offer(tasks, frame.key.seq)

    def _offer(self, tasks: ZmqSocket, seq: int) -> None:
        """Send a frame's task, unless the frame has ended meanwhile."""
        found = self._store.to_send(seq)
        if found is not None:
            frame, net_input = found
            send(tasks, task_of(net_input, frame.captured_mono_s), [net_input.image])

    def _drop(self, tasks: ZmqSocket, drop: Drop) -> None:
        send(tasks, LaneDrop(drop.key.source, drop.key.seq, drop.stage, drop.reason))
