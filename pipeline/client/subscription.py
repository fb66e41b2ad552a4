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

from posestream.pipeline.client.core import SubscriberCore
from posestream.pipeline.client.order import Event, Gap
from posestream.pipeline.client.wire import Wire
from posestream.pipeline.security.guard import UNGUARDED, ConnectGuard
from posestream.pipeline.wire.sockets import has_more
from posestream.stages.errors import SettingsError

__all__ = ["AsyncMessages", "Messages", "tell_gap"]

_log = logging.getLogger(__name__)

#: Longest wait before requests and times are looked at, in seconds.
_LOOK_S = 0.1
#: Messages that are taken off the socket before the user has them.
_AT_ONCE = 100


def tell_gap(gap: Gap) -> None:
    """Log a gap: what is done with gaps where nobody else takes them."""
    how_many = "an unknown number of" if gap.last is None else str(gap.last - gap.first + 1)
    _log.warning("%s: %s messages from %d on of run %s are lost", gap.source, how_many, gap.first, gap.run)


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
        for source, place in (after or {}).items():
            if not (isinstance(place, tuple | list) and [type(part) for part in place] == [str, int]):
                raise SettingsError(f"after[{source!r}]={place!r}: give the run and the number of the last message")
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
    def has_ready(self) -> bool:
        """True if a message is there that the next call gives at once."""
        return bool(self._ready)

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
            self._wire = Wire(self._context, address, self._core, guard)
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
            if self._is_idle and not self._is_closed:
                self._take(self._core.end())
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
            if not has_more(self._wire.asking):
                return
            self._take(self._core.answered(self._wire.asking.recv_multipart(zmq.NOBLOCK)))

    def wait_for_layout(self, timeout_s: float) -> bool:
        """Wait until the publisher has told its layout; False if it has not in time. What comes meanwhile is kept."""
        deadline_s = time.monotonic() + timeout_s
        while self.layout is None and (left_s := deadline_s - time.monotonic()) > 0:
            self.wait(min(left_s, _LOOK_S))
        return self.layout is not None

    def _receive(self) -> None:
        """Take what has come, some at once: to poll for each costs as much as to receive it."""
        for _ in range(_AT_ONCE):
            if not has_more(self._wire.live):
                return
            self._take(self._core.received(self._wire.live.recv_multipart(zmq.NOBLOCK)))

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
            self._wire = Wire(self._context, address, self._core, guard)
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
            if self._is_idle and not self._is_closed:
                self._take(self._core.end())
            if self._is_closed or self._is_idle:
                self.close()
                raise StopAsyncIteration
            try:
                await self.wait(_LOOK_S)
            except (asyncio.CancelledError, zmq.ZMQError):
                # Another task's `close` cancels what waits for the sockets, which is an end; whoever cancels this very
                # task means more by it.
                task = asyncio.current_task()
                if not self._is_closed or (task is not None and task.cancelling()):
                    raise

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
        """Listen no more, which also ends a loop that waits in another task; closing again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._wire.close()
            self._context.term()
