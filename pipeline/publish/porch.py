"""A process between the head and whoever comes over TCP: what strangers can harm is this, and it comes back."""

from __future__ import annotations

import logging
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgpack
import zmq
from rich.console import Console

from posestream.pipeline.errors import ExitCode
from posestream.pipeline.leave import leave
from posestream.pipeline.logs import set_up_logging
from posestream.pipeline.publish.answers import client_of
from posestream.pipeline.publish.entrance import Entrance, NoEntrance
from posestream.pipeline.publish.guest import Allowance
from posestream.pipeline.publish.outlets import Outlets
from posestream.pipeline.publish.porch_link import PorchKind, PorchPlan
from posestream.pipeline.publish.request import MAX_REQUEST_BYTES
from posestream.pipeline.security.guard import ListenGuard
from posestream.pipeline.supervision.parent import Parent
from posestream.pipeline.supervision.process import STOP
from posestream.pipeline.wire.sockets import NOBLOCK, Sockets, ZmqContext, has_more
from posestream.stages.errors import SettingsError

__all__ = ["main"]

_log = logging.getLogger(__name__)

#: Longest wait for the head, in milliseconds, and how often strangers are heard, in seconds: to wait for all of them at
#: once takes more than to pass a message on.
_WAIT_MS, _HEAR_S = 20, 0.02
#: Requests of strangers that are taken before somebody else has a turn.
_REQUESTS_AT_ONCE = 64
#: Layouts are not sent more often than this, in seconds: they go to everybody, and joining must not be a weapon.
_LAYOUT_EVERY_S = 0.1
#: How often the head is told what was counted, in seconds.
_TELL_S = 1.0
#: What a subscriber may send: wishes of a hundred sources; and who asks may have so much on its way; some bytes a
#: second are for pings. The shortest parts take thirty times as much memory as they have bytes.
_WISHES, _REQUESTS = Allowance(8 << 10, 64), Allowance(32 << 10, 64)
#: Memory that this process may have at most, in bytes: what Python and ZeroMQ need, and for each message in the queue.
_MOST_BYTES, _MESSAGE_BYTES = 320 << 20, 64 << 10
#: Open files that this process asks for: two for each connection.
_FILES = 4096


class Porch:
    """Passes on what the head publishes, and what is asked of it.

    It keeps nothing but the last layout, so that it may end at any moment: subscribers connect again to its successor,
    and ask for what they missed.
    """

    def __init__(self, plan: PorchPlan) -> None:
        self._plan = plan
        self._stopping = threading.Event()
        self._has_ended = False
        self._layout: tuple[bytes, bytes] | None = None
        self._is_layout_due = False
        self._layout_sent_s = self._told_s = self._heard_s = 0.0
        self._malformed = 0

    def stop(self) -> None:
        """End soon, whatever comes."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until the head says that nothing more comes.

        Raises:
            SettingsError: an address is taken, or a key or the list of clients cannot be read; the head is told.
        """
        context: ZmqContext = zmq.Context()
        self._entrance: Entrance | NoEntrance = NoEntrance()  # until the keys are read
        try:
            with Sockets(context) as sockets:
                self._head = sockets.open(zmq.DEALER, connect=self._plan.channel, patience_ms=_WAIT_MS)
                self._head.sndhwm = self._plan.queue
                self._open(sockets, context)
                while not (self._stopping.is_set() or self._has_ended):
                    self._turn()
        finally:
            self._entrance.close()
            context.term()

    def _open(self, sockets: Sockets, context: ZmqContext) -> None:
        try:
            guard = ListenGuard.of(Path(self._plan.key) if self._plan.key else None)
            clients = Path(self._plan.clients) if self._plan.clients else None
            self._entrance = Entrance(context, guard, clients)
            watch = [partial(self._entrance.watch, allowance=allowance) for allowance in (_WISHES, _REQUESTS)]
            self._outlets = Outlets(sockets, self._plan.queue, watch)
            bound = self._outlets.bind(self._plan.addresses, self._plan.replay_addresses, guard)
        except SettingsError as error:
            self._head.send_multipart([PorchKind.FAILED, str(error).encode()])
            raise
        told = dict(zip(("addresses", "replay_addresses"), bound, strict=True))
        self._head.send_multipart([PorchKind.HELLO, msgpack.packb(told)])

    def _turn(self) -> None:
        """Pass on what the head says next, and see to strangers if it is time."""
        try:
            first = self._head.recv()
        except zmq.Again:
            pass  # it says nothing
        else:
            self._pass_on(first)
        now_s = time.monotonic()
        if now_s - self._heard_s >= _HEAR_S:
            self._heard_s = now_s
            self._is_layout_due |= self._outlets.hear_wishes()
            for _ in range(_REQUESTS_AT_ONCE):
                if not has_more(self._outlets.replay):
                    break
                self._ask()
        if self._is_layout_due and self._layout is not None and now_s - self._layout_sent_s >= _LAYOUT_EVERY_S:
            self._is_layout_due, self._layout_sent_s = False, now_s
            self._outlets.send(*self._layout)
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            self._tell()

    def _pass_on(self, first: bytes) -> None:
        """Pass one message of the head on, of which the first part is here."""
        if first == PorchKind.END:
            self._has_ended = True
        elif first == PorchKind.ANSWER:
            peer, *parts = self._head.recv_multipart(NOBLOCK)
            self._outlets.answer(peer, parts)
        else:
            # By reference: what was received is what is sent, to everybody.
            body = self._head.recv(NOBLOCK, copy=False)
            if first.startswith(b"layout/"):
                self._layout = (first, body.bytes)
            self._outlets.send(first, body)

    def _ask(self) -> None:
        """Pass one request on; a head that has no time for it is asked again by who sent it."""
        peer, *parts = self._outlets.replay.recv_multipart(zmq.NOBLOCK, copy=False)
        if parts:
            self._entrance.note_read(parts[0], sum(len(part) for part in parts))
        if len(parts) != 1 or len(parts[0]) > MAX_REQUEST_BYTES:
            self._malformed += 1
            return
        self._say([PorchKind.ASK, peer.bytes, client_of(peer, parts), parts[0].bytes])

    def _tell(self) -> None:
        counted = {
            "refused": self._entrance.refused,
            "cut": self._entrance.cut,
            "malformed": self._malformed,
        }
        self._say([PorchKind.TOLD, msgpack.packb(counted)])

    def _say(self, parts: Sequence[bytes]) -> None:
        try:
            self._head.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            _log.debug("the head has no time")


def _limit(queue: int) -> None:
    """Let the system refuse memory beyond what honest subscribers can make this process use, and open files enough."""
    most = _MOST_BYTES + queue * _MESSAGE_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    # It ends then, and what it had in memory is of no use to anybody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def main() -> int:
    """Do what the head says, and give the exit code."""
    # The head decides what a Ctrl-C means; it may have been started where that reaches children too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = Parent(sys.stdin.fileno())
    settings = parent.settings()
    set_up_logging(Console(stderr=True), **settings["log"])
    plan = PorchPlan(**settings["work"])
    _limit(plan.queue)
    porch = Porch(plan)
    parent.watch({STOP: porch.stop}, porch.stop)
    try:
        porch.run()
    except SettingsError:
        return ExitCode.USAGE  # the head has been told why
    return ExitCode.DONE


if __name__ == "__main__":
    leave(main())
