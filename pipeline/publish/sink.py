"""The output of a lane that publishes: encodes each message once and hands it to the head's publisher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import zmq

from posestream.pipeline.errors import PipelineError
from posestream.pipeline.wire.messages import Publish, PublishEnd
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, ZmqSocket, send
from posestream.stages.errors import OutputError
from posestream.stages.items import Frame
from posestream.stages.output.held import Held, lacks_all
from posestream.stages.output.sink import Ended

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["LAST_KEYS", "PublishSink"]

#: What a lane that goes on is told of the last message that was published.
LAST_KEYS = ("run", "source", "n", "epoch", "seq", "pts", "name", "model")


class PublishSink:
    """Sends the messages of one source to the publisher.

    Args:
        context: the process's sockets.
        feed: where the publisher listens to lanes.
        last: of the last message that was published of this source, `LAST_KEYS`; empty where there is none.
    """

    def __init__(self, context: ZmqContext, feed: str, last: Mapping[str, Any]) -> None:
        self._sockets = Sockets(context)
        self._feed = feed
        #: The source whose messages have been handed over; empty before the first one.
        self._source = ""
        self._last = dict(last)
        self._socket: ZmqSocket | None = None
        self.paths: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """What people call it."""
        return "the publisher"

    def resume(self, source: str, since_s: float) -> Held:  # noqa: ARG002 - the publisher knows of whom and when
        """Go on after the last message that was published."""
        if not self._last:
            return Held(lacks_all)
        return Held(self._lacks, self._last["seq"] + 1, self._last)

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002 - the messages tell all there is to tell
        """Make the socket in the thread that writes."""
        self._socket = self._sockets.open(zmq.PUSH, connect=self._feed)

    def write(self, ended: Ended) -> None:
        """Encode a message and hand it over.

        Raises:
            OutputError: the publisher does not take it.
        """
        if self._socket is None:
            raise ValueError("PublishSink.write before open or after close")
        message = ended.message
        body: bytes = msgpack.packb(message)
        self._source = message["source"]
        self._hand_over(self._socket, Publish(self._source, message["run"], message["n"]), [body])

    def close(self) -> None:
        """Say that this was all and let go of the socket; what it holds is still delivered.

        Raises:
            OutputError: the publisher does not take it.
        """
        socket, self._socket = self._socket, None
        try:
            if socket is not None and self._source:
                self._hand_over(socket, PublishEnd(self._source), [])
        finally:
            self._sockets.__exit__(None, None, None)

    def _hand_over(self, socket: ZmqSocket, message: Publish | PublishEnd, payloads: list[bytes]) -> None:
        try:
            send(socket, message, payloads)
        except PipelineError as error:
            raise OutputError("cannot publish: the publisher has stopped") from error

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:  # noqa: ARG002 - every frame has a message
        """True for a frame after the last one that was published."""
        return frame.key.seq > int(self._last["seq"])
