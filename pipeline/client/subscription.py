"""Subscriptions: loops over what a publisher sends, for plain programs and for asyncio."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from posestream.pipeline.client.core import SubscriberCore, replay_of
from posestream.pipeline.client.order import Event, Gap
from posestream.pipeline.client.refusals import Refusals
from posestream.pipeline.security.guard import UNGUARDED, ConnectGuard
from posestream.stages.errors import SettingsError

__all__ = ["AsyncMessages", "Messages", "tell_gap"]

_log = logging.getLogger(__name__)

#: Longest wait before requests and times are looked at, in seconds.
_LOOK_S = 0.1
#: Messages that wait in the socket at most; beyond them the publisher holds some back, then drops.
_WAITING = 1000
#: Messages that are taken off the socket before the user has them.
_AT_ONCE = 100
#: Largest message that is taken, in bytes.
_MOST_BYTES = 64 << 20
#: Pauses between attempts to connect again, in milliseconds.
_RECONNECT_MS, _MOST_RECONNECT_MS = 100, 2_000
#: A host that is silent on the wire is probed by the kernel after so many seconds, then every so many, and given up
#: after so many probes. ZeroMQ's pings are not for this: libzmq 4.3.5 stops reading from a connection whose queue is
#: full, and if that is then reset, the next ping or pong ends this process (`!_io_error` in stream_engine_base.cpp).
_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES = 2, 1, 4


def tell_gap(gap: Gap) -> None:
    """Log a gap: what is done with gaps where nobody else takes them."""
    how_many = "an unknown number of" if gap.last is None else str(gap.last - gap.first + 1)
    _log.warning("%s: %s messages from %d on of run %s are lost", gap.source, how_many, gap.first, gap.run)


class _Wire:
    """The sockets of a subscription."""

    def __init__(self, context: zmq.Context[Any], address: str, core: SubscriberCore, guard: ConnectGuard) -> None:
        self._context = context
        self._address = address
        self._core = core
        self._guard = guard
        self._asking_at = ""
        self._refusals = Refusals(context)
        self.live = self._open(zmq.SUB)
        self.asking = self._open(zmq.DEALER)
        try:
            for topic in core.topics:
                self.live.setsockopt(zmq.SUBSCRIBE, topic)
            guard.apply(self.live, address)
            self._refusals.connect(self.live, address)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsError(f"cannot subscribe to {address}: {error.strerror}; write tcp://HOST:PORT") from error

    def _open(self, kind: int) -> Any:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.rcvhwm = socket.sndhwm = _WAITING
        for option, value in (
            (zmq.MAXMSGSIZE, _MOST_BYTES),
            (zmq.RECONNECT_IVL, _RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, _MOST_RECONNECT_MS),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, _PROBE_AFTER_S),
            (zmq.TCP_KEEPALIVE_INTVL, _PROBE_EVERY_S),
            (zmq.TCP_KEEPALIVE_CNT, _PROBES),
        ):
            socket.setsockopt(option, value)
        self._refusals.watch(socket)
        return socket

    def requests(self) -> list[bytes]:
        """Give what is to be sent, with the socket connected to where the publisher can be asked."""
        self._refusals.look()
        if self._core.layout is None:
            return []
        offered = self._core.layout.get("replay")
        address = replay_of(self._address, offered if isinstance(offered, list) else ())
        if address is None:
            return []
        if address != self._asking_at:
            # A publisher that was started again may be asked elsewhere.
            self._guard.apply(self.asking, address)
            self._refusals.connect(self.asking, address)
            self._asking_at = address
        return self._core.requests()

    def close(self) -> None:
        """Let go of both."""
        self.live.close()
        self.asking.close()
        self._refusals.close()


class _Common:
    """What both kinds of loops have: the core, and messages that wait for the user."""

    def __init__(
        self,
        sources: Sequence[str] | None,
        on_gap: Callable[[Gap], None],
        idle_s: float | None,
        *,
        replay: bool,
        after: Mapping[str, tuple[str, int]] | None,
    ) -> None:
        if isinstance(sources, str):
            raise SettingsError(f"sources={sources!r}: give a list of names")
        self._core = SubscriberCore(sources, can_ask=replay, after=after or {}, clock=time.monotonic)
        self._on_gap = on_gap
        self._idle_s = idle_s
        self._ready: deque[Mapping[str, Any]] = deque()
        self._heard_s = time.monotonic()
        self._is_with_user = False

    @property
    def layout(self) -> Mapping[str, Any] | None:
        """What the keypoints mean, as the publisher told it; None before it has."""
        return self._core.layout

    @property
    def malformed(self) -> int:
        """How many messages were none of ours."""
        return self._core.malformed

    @property
    def _is_idle(self) -> bool:
        """True if nothing has come for as long as was to be waited."""
        return self._idle_s is not None and time.monotonic() - self._heard_s > self._idle_s

    def _give(self) -> Mapping[str, Any]:
        """Give the next message to the user, whose time with it is not counted as silence."""
        self._is_with_user = True
        return self._ready.popleft()

    def _come_back(self) -> None:
        """Note that the user has done with the last message."""
        if self._is_with_user:
            self._is_with_user, self._heard_s = False, time.monotonic()

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Gap):
                self._on_gap(event)
            else:
                self._heard_s = time.monotonic()
                self._ready.append(event)


class Messages(_Common):
    """Gives the messages of a publisher in order, as plain objects, until closed or idle for `idle_s` seconds."""

    def __init__(
        self,
        address: str,
        sources: Sequence[str] | None = None,
        *,
        replay: bool = False,
        after: Mapping[str, tuple[str, int]] | None = None,
        on_gap: Callable[[Gap], None] = tell_gap,
        idle_s: float | None = None,
        guard: ConnectGuard = UNGUARDED,
    ) -> None:
        super().__init__(sources, on_gap, idle_s, replay=replay, after=after)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._is_closed = False
        try:
            self._wire = _Wire(self._context, address, self._core, guard)
        except SettingsError:
            self._context.term()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._wire.live, zmq.POLLIN)
        self._poller.register(self._wire.asking, zmq.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Mapping[str, Any]:
        self._come_back()
        while True:
            if self._ready:
                return self._give()
            if self._is_closed or self._is_idle:
                self.close()
                raise StopIteration
            self.wait(_LOOK_S)

    def wait(self, timeout_s: float) -> None:
        """Wait for something to come, and see to what was missed."""
        self._receive_answers()
        for request in self._wire.requests():
            self._wire.asking.send(request)
        ready = dict(self._poller.poll(int(timeout_s * 1000)))
        if self._wire.asking in ready:
            self._receive_answers()
        if self._wire.live in ready:
            self._receive()
        self._take(self._core.tick())

    def _receive_answers(self) -> None:
        """Take the answers that are there: none that waits here while the user is busy is asked for again."""
        for _ in range(_AT_ONCE):
            try:
                parts = self._wire.asking.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(self._core.answered(parts))

    def wait_for_layout(self, timeout_s: float) -> bool:
        """Wait until the publisher has told its layout; False if it has not in time. What comes meanwhile is kept."""
        deadline_s = time.monotonic() + timeout_s
        while self.layout is None and (left_s := deadline_s - time.monotonic()) > 0:
            self.wait(min(left_s, _LOOK_S))
        return self.layout is not None

    def _receive(self) -> None:
        """Take what has come, some at once: to poll for each costs as much as to receive it."""
        for _ in range(_AT_ONCE):
            try:
                parts = self._wire.live.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(self._core.received(parts))

    def close(self) -> None:
        """Listen no more; closing again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._wire.close()
            self._context.term()


class AsyncMessages(_Common):
    """The same for `async for`."""

    def __init__(
        self,
        address: str,
        sources: Sequence[str] | None = None,
        *,
        replay: bool = False,
        after: Mapping[str, tuple[str, int]] | None = None,
        on_gap: Callable[[Gap], None] = tell_gap,
        idle_s: float | None = None,
        guard: ConnectGuard = UNGUARDED,
    ) -> None:
        super().__init__(sources, on_gap, idle_s, replay=replay, after=after)
        self._context = zmq.asyncio.Context()
        self._is_closed = False
        try:
            self._wire = _Wire(self._context, address, self._core, guard)
        except SettingsError:
            self._context.term()
            raise
        self._poller = zmq.asyncio.Poller()
        self._poller.register(self._wire.live, zmq.POLLIN)
        self._poller.register(self._wire.asking, zmq.POLLIN)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        self._come_back()
        while True:
            if self._ready:
                return self._give()
            if self._is_closed or self._is_idle:
                self.close()
                raise StopAsyncIteration
            await self.wait(_LOOK_S)

    async def wait(self, timeout_s: float) -> None:
        """Wait for something to come, and see to what was missed."""
        await self._receive_answers()
        for request in self._wire.requests():
            await self._wire.asking.send(request)
        ready = dict(await self._poller.poll(int(timeout_s * 1000)))
        if self._wire.asking in ready:
            await self._receive_answers()
        if self._wire.live in ready:
            self._take(self._core.received(await self._wire.live.recv_multipart()))
        self._take(self._core.tick())
        # Other tasks have their turn also while messages come faster than they are taken.
        await asyncio.sleep(0)

    async def _receive_answers(self) -> None:
        """Take the answers that are there."""
        for _ in range(_AT_ONCE):
            try:
                parts = await self._wire.asking.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(self._core.answered(parts))

    def close(self) -> None:
        """Listen no more; closing again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._wire.close()
            self._context.term()
