"""The publisher's thread: what lanes hand it goes to whoever listens, and again to whoever asks for what it missed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import zmq

from posestream.pipeline.errors import DecodeError
from posestream.pipeline.publish.answers import Answers
from posestream.pipeline.publish.history import History
from posestream.pipeline.publish.log import Entry
from posestream.pipeline.publish.outlets import Outlets
from posestream.pipeline.publish.porch_link import NoPorchLink, PorchLink
from posestream.pipeline.publish.topics import STATUS, absolute_address, layout_topic, poses_topic, source_status_topic
from posestream.pipeline.security.gate import Gate, NoGate
from posestream.pipeline.security.guard import ListenGuard
from posestream.pipeline.wire.messages import Publish, PublishEnd, PublishForget, PublishStatus
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, has_more, receive
from posestream.stages.message import VERSION

__all__ = ["PublishPlan", "Publisher"]

_log = logging.getLogger(__name__)

#: Longest wait for anything, in milliseconds: how late a stop is noticed.
_POLL_MS = 50
#: After a stop, messages may still be on their way: lanes that have not said their end are waited for so long, and
#: others until nothing has come for so long, in seconds.
_LAST_WORDS_S, _SILENCE_S = 2.0, 0.05
#: Messages of lanes that are taken before somebody else has a turn.
_AT_ONCE = 64
#: Layouts are not sent more often than this, in seconds: they go to everybody, and joining must not be a weapon.
_LAYOUT_EVERY_S = 0.1
#: Subscribers whose connection is lost try again after two seconds at most.
_COME_BACK_S = 2.5
#: How often old messages are looked for, in seconds.
_EXPIRE_S = 1.0
#: Of bytes that are none of ours, so many are logged.
_TOLD = 3


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """What a publisher is to do.

    With `queue` messages waiting for a subscriber, further ones are dropped for it: it knows by `n`, and can ask again.
    """

    feed: str
    addresses: tuple[str, ...]
    replay_addresses: tuple[str, ...]
    queue: int
    #: The layout as it is told.
    layout: Mapping[str, Any]


class Publisher:
    """Forwards messages as they come, remembers them, and answers requests, all in one thread.

    One thread for both is what makes the seam between an answer and the live messages exact: whatever is not in an
    answer is published after it.
    """

    def __init__(
        self,
        context: ZmqContext,
        plan: PublishPlan,
        history: History,
        guard: ListenGuard,
        gate: Gate | NoGate,
        porch: PorchLink | NoPorchLink | None = None,
    ) -> None:
        self._context = context
        self._plan = plan
        self._history = history
        self._guard = guard
        self._gate = gate
        self._porch = porch or NoPorchLink()
        self._stopping = threading.Event()
        self._answers = Answers(history)
        self._layout: Mapping[str, Any] = plan.layout
        self._is_layout_due = True
        self._layout_sent_s = float("-inf")
        self._expired_s = 0.0
        #: Sources whose lanes have handed something over and have not said that it was all.
        self._speaking: set[str] = set()
        #: When it is told once more to those who come back to a new porch how far each source is.
        self._retell_s = math.inf
        #: The last status of each topic, to be told again at the end.
        self._status: dict[str, dict[str, Any]] = {}
        #: Sources that have gone, of which old messages may still be asked for.
        self._gone: set[str] = set()
        #: Set once everybody may connect.
        self.is_listening = threading.Event()
        #: Where it listens itself, ports that were left open filled in.
        self.addresses: tuple[str, ...] = ()
        self.replay_addresses: tuple[str, ...] = ()
        #: Messages published, and those that were none of ours.
        self.published = 0
        self.malformed = 0

    def __repr__(self) -> str:
        return f"<Publisher at {', '.join(self.addresses) or 'nowhere yet'}, {self.published} published>"

    def stop(self) -> None:
        """Send what has come by now, then end."""
        self._stopping.set()

    def run(self) -> None:
        """Publish until stopped.

        Raises:
            SettingsError: an address is taken, or none of this machine's.
        """
        try:
            with Sockets(self._context) as sockets:
                self._open(sockets)
                self.is_listening.set()
                while not self._stopping.is_set():
                    self._turn(_POLL_MS)
                self._hear_last_words()
                self._tell_end()
                self._porch.end()
        finally:
            self._history.close()

    def _open(self, sockets: Sockets) -> None:
        self._feed = sockets.open(zmq.PULL, bind=self._plan.feed)
        self._outlets = Outlets(sockets, self._plan.queue, (self._gate.watch, self._gate.watch))
        self.addresses, self.replay_addresses = self._outlets.bind(
            self._plan.addresses, self._plan.replay_addresses, self._guard
        )
        self._porch.open(sockets)
        self._make_layout()
        self._poller = zmq.Poller()
        # Each socket makes each wait longer: its own, where nobody can come, are left out.
        own = (self._outlets.live, self._outlets.replay) if self.addresses or self.replay_addresses else ()
        for socket in (self._feed, *own, *self._porch.sockets):
            self._poller.register(socket, zmq.POLLIN)

    def _make_layout(self) -> None:
        """Tell in the layout where one can listen and ask."""
        self._layout = {
            **self._plan.layout,
            "addresses": [absolute_address(one) for one in (*self.addresses, *self._porch.addresses)],
            "replay": [absolute_address(one) for one in (*self.replay_addresses, *self._porch.replay_addresses)],
        }
        self._answers.layout = self._layout
        self._is_layout_due = True

    def _hear_last_words(self) -> None:
        """Take what lanes had left when they ended: what was written elsewhere must not be missing here.

        Messages of another process may be on their way while this one has no time to read them, so that silence alone
        does not mean that nothing more comes.
        """
        begun_s = taken_s = now_s = time.monotonic()
        while now_s - taken_s < _SILENCE_S or (self._speaking and now_s - begun_s < _LAST_WORDS_S):
            is_taken = self._turn(_POLL_MS)
            now_s = time.monotonic()
            taken_s = now_s if is_taken else taken_s

    def _turn(self, wait_ms: int) -> bool:
        """Wait for something and do what there is to do; False if there was nothing from lanes."""
        ready = dict(self._poller.poll(wait_ms))
        for _ in range(_AT_ONCE):
            if not has_more(self._feed):
                break
            self._forward()
        if self._outlets.live in ready:
            self._is_layout_due |= self._outlets.hear_wishes()
        if self._outlets.replay in ready:
            self._answers.serve(self._outlets)
        if self._porch.hear(self._answers.answer):
            self._make_layout()
            self._retell_s = time.monotonic() + _COME_BACK_S
        self._tend()
        return self._feed in ready

    def _forward(self) -> None:
        """Publish one message of a lane, or a status."""
        try:
            envelope = receive(self._feed)
        except DecodeError as error:
            self._ignore(str(error))
            return
        message, now_s = envelope.message, time.time()
        if isinstance(message, PublishEnd):
            self._speaking.discard(message.source)
            self._history.end(message.source)
        elif isinstance(message, PublishForget):
            self._gone.add(message.source)
        elif len(envelope.payloads) != 1:
            self._ignore(f"{type(message).__name__} with {len(envelope.payloads)} payloads")
        elif isinstance(message, Publish):
            body = envelope.payloads[0].bytes
            self._speaking.add(message.source)
            if self._history.add(message.source, Entry(message.run, message.n, now_s, body)):
                self.published += 1
                self._send(poses_topic(message.source), body)
        elif isinstance(message, PublishStatus):
            self._forward_status(message.source, envelope.payloads[0].bytes)
        else:
            self._ignore(f"{type(message).__name__} does not belong to a publisher")

    def _forward_status(self, source: str, body: bytes) -> None:
        """Publish a status; a source's tells how far its messages have come, so that a lost last one is missed."""
        status: dict[str, Any] = msgpack.unpackb(body)
        topic = source_status_topic(source) if source else STATUS
        self._status[topic] = status
        self._send_status(topic)

    def _send_status(self, topic: str) -> None:
        status = self._status[topic]
        log = self._history.logs.get(status.get("source", ""))
        if log is not None and log.next is not None:
            status["run"], status["n"] = log.next.run, log.next.n
        if topic == STATUS:
            status["malformed_requests"] = self._answers.malformed + self._porch.told.get("malformed", 0)
            status["refused_requests"] = self._answers.refused
        self._send(topic, msgpack.packb(status))

    def _tend(self) -> None:
        now_s = time.monotonic()
        if self._is_layout_due and now_s - self._layout_sent_s >= _LAYOUT_EVERY_S:
            self._is_layout_due, self._layout_sent_s = False, now_s
            self._send(layout_topic(str(self._layout["name"])), msgpack.packb(self._layout))
        if now_s >= self._retell_s:
            self._retell_s = math.inf
            for topic in self._status:
                self._send_status(topic)
        if now_s - self._expired_s >= _EXPIRE_S:
            self._expired_s = now_s
            self._history.expire(time.time())
            for source in [one for one in self._gone if self._history.forget(one)]:
                self._gone.discard(source)
                self._status.pop(source_status_topic(source), None)

    def _tell_end(self) -> None:
        """Tell how far the messages of each source came in the end."""
        for topic, status in self._status.items():
            if topic != STATUS:
                status["is_final"] = True
                self._send_status(topic)

    def _send(self, topic: str, body: bytes) -> None:
        """Send to whoever listens, on this host and through the porch."""
        if self.addresses:
            self._outlets.send(topic.encode(), body)
        self._porch.send(topic.encode(), body)

    def _ignore(self, what: str) -> None:
        self.malformed += 1
        _log.log(logging.WARNING if self.malformed <= _TOLD else logging.DEBUG, "ignored: %s", what)


def layout_message(name: str, keypoints: Sequence[str], limbs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Tell what the keypoints of a layout mean, and which of them are joined."""
    return {
        "v": VERSION,
        "type": "layout",
        "name": name,
        "keypoints": list(keypoints),
        "limbs": [list(limb) for limb in limbs],
    }
