"""What a head offers beside its work: the publisher, and the gate of its sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgpack
import zmq

from posestream.models.layout import LAYOUTS
from posestream.pipeline.job import Job
from posestream.pipeline.publish.history import History
from posestream.pipeline.publish.log import LogLimits
from posestream.pipeline.publish.publisher import Publisher, PublishPlan, layout_message
from posestream.pipeline.publish.sink import LAST_KEYS
from posestream.pipeline.security.gate import Gate, NoGate, open_gate
from posestream.pipeline.supervision.part import Part
from posestream.pipeline.supervision.porch import NoPorch, Porch, is_strangers
from posestream.pipeline.supervision.process import LogOptions
from posestream.pipeline.wire.messages import PublishForget, PublishStatus
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, send
from posestream.stages.errors import OutputError

__all__ = ["NoPublishing", "Publishing", "Services", "open_services"]

#: How often a start looks whether the publisher listens, in seconds.
_LOOK_S = 0.1
#: How long the publisher may take to send what it has, in seconds.
_END_S = 5.0


class _Publishing(Protocol):
    @property
    def feed(self) -> str: ...
    @property
    def porch(self) -> Porch | NoPorch: ...
    @property
    def errors(self) -> list[OutputError]: ...
    def last(self, source: str) -> dict[str, Any]: ...
    def start(self) -> None: ...
    def watch(self, now_s: float) -> None: ...
    def tell(self, source: str, status: Mapping[str, Any]) -> None: ...
    def forget(self, source: str) -> None: ...
    def close(self) -> None: ...


class NoPublishing:
    """Stands for the publisher where nobody may listen."""

    feed = ""
    porch = NoPorch()

    @property
    def errors(self) -> list[OutputError]:
        """None."""
        return []

    def last(self, source: str) -> dict[str, Any]:  # noqa: ARG002 - whichever it is
        """Nothing was published."""
        return {}

    def start(self) -> None:
        """Nothing is to be started."""

    def watch(self, now_s: float) -> None:
        """Nothing can die."""

    def tell(self, source: str, status: Mapping[str, Any]) -> None:
        """Nobody listens."""

    def forget(self, source: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is to be closed."""


class Publishing:
    """The publisher in its thread, as the head's main thread sees it."""

    def __init__(
        self,
        context: ZmqContext,
        plan: PublishPlan,
        history: History,
        publisher: Publisher,
        porch: Porch | NoPorch,
        on_end: Callable[[], None],
    ) -> None:
        self.feed = plan.feed
        self.porch = porch
        self._sockets = Sockets(context)
        self._history = history
        self._publisher = publisher
        self._part = Part("publish", publisher.run, on_end)
        self._socket: zmq.Socket[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Publishing {self._publisher}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, ports that were left open filled in."""
        return (*self._publisher.addresses, *self.porch.link.addresses)

    @property
    def errors(self) -> list[OutputError]:
        """What kept messages from being published, or logs from being written."""
        stopped = [] if self._part.error is None else [OutputError(f"publishing failed: {self._part.error}")]
        return [*self._history.errors.values(), *stopped, *self.porch.errors]

    def last(self, source: str) -> dict[str, Any]:
        """Give what a lane that goes on must know of the last message of a source; empty where there is none."""
        entry = self._history.last(source)
        if entry is None:
            return {}
        message = msgpack.unpackb(entry.body)
        return {key: message[key] for key in LAST_KEYS if key in message}

    def start(self) -> None:
        """Begin to listen.

        Raises:
            SettingsError: an address is taken, or none of this machine's.
        """
        self._part.start()
        while not self._publisher.is_listening.wait(_LOOK_S):
            if self._part.error is not None:
                raise self._part.error
        self.porch.start()

    def watch(self, now_s: float) -> None:
        """Start again what has died."""
        self.porch.watch(now_s)

    def tell(self, source: str, status: Mapping[str, Any]) -> None:
        """Publish how a source is, or the whole where its name is empty."""
        self._say(PublishStatus(source), msgpack.packb(status))

    def forget(self, source: str) -> None:
        """Keep nothing of a source that has gone for good, once its messages are too old to be asked for."""
        self._say(PublishForget(source))

    def _say(self, message: PublishStatus | PublishForget, *payloads: bytes) -> None:
        if not self._part.is_alive:
            return
        if self._socket is None:
            self._socket = self._sockets.open(zmq.PUSH, connect=self.feed)
        send(self._socket, message, payloads)

    def close(self) -> None:
        """Send what has come, then end; closing again does nothing."""
        self._sockets.__exit__(None, None, None)
        if self._part.is_alive:
            self.porch.settle()
        self._publisher.stop()
        if self._part.was_started:
            self._part.join(_END_S)
        else:
            self._history.close()
        self.porch.close()


class Services:
    """All of them."""

    def __init__(self, publishing: _Publishing | None = None, gate: Gate | NoGate | None = None) -> None:
        self.publishing: _Publishing = publishing or NoPublishing()
        self.gate: Gate | NoGate = gate or NoGate()
        #: Counts the malformed messages at the other sockets of the head, such as the one that sources are changed at.
        self.malformed: Callable[[], int] = lambda: 0
        #: Counts the connections that were turned away there.
        self.refused: Callable[[], int] = lambda: 0

    def close(self) -> None:
        """End them: first who publishes, last the gate, without which everybody could come in."""
        self.publishing.close()
        self.gate.close()


def open_services(
    job: Job, context: ZmqContext, feed: str, on_end: Callable[[], None], log: LogOptions | None = None
) -> Services:
    """Make what a job offers; nothing listens yet.

    Args:
        job: what is asked for.
        context: the head's sockets.
        feed: where lanes shall hand over their messages.
        on_end: called when the publisher's thread has ended.
        log: how processes log.

    Raises:
        SettingsError: the list of clients cannot be read, or another head writes the same logs.
        OutputError: the logs cannot be read.
    """
    table = job.settings.publish
    gate = open_gate(context, job.guard, job.settings.security.clients)
    if not table.addresses:
        return Services(gate=gate)
    try:
        history = History(LogLimits(table.log_messages, table.log_bytes, table.log_age_s), table.log_folder)
        history.expire(time.time())
    except BaseException:
        gate.close()
        raise
    plan, porch = _publish_plan(job, feed), _porch(job, log or LogOptions())
    publisher = Publisher(context, plan, history, job.guard, gate, porch.link)
    return Services(Publishing(context, plan, history, publisher, porch, on_end), gate)


def _publish_plan(job: Job, feed: str) -> PublishPlan:
    """Give what the publisher does itself: what strangers reach is the porch's."""
    table, layout = job.settings.publish, LAYOUTS[job.choice.spec.layout_name]
    return PublishPlan(
        feed,
        tuple(address for address in table.addresses if not is_strangers(address)),
        tuple(address for address in table.replay_addresses if not is_strangers(address)),
        table.queue,
        layout_message(layout.name, layout.keypoints, layout.limbs),
    )


def _porch(job: Job, log: LogOptions) -> Porch | NoPorch:
    table, security = job.settings.publish, job.settings.security
    addresses = [address for address in table.addresses if is_strangers(address)]
    replay_addresses = [address for address in table.replay_addresses if is_strangers(address)]
    if not addresses and not replay_addresses:
        return NoPorch()
    return Porch(addresses, replay_addresses, table.queue, security.key, security.clients, log)
