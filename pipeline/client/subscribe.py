"""`for poses in subscribe("tcp://host:5556"): …`: what a publisher sends, typed, for loops and for asyncio."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from posestream.pipeline.client.order import Gap
from posestream.pipeline.client.subscription import AsyncMessages, Messages, tell_gap
from posestream.pipeline.result import PosesResult
from posestream.pipeline.security.guard import ConnectGuard

__all__ = ["AsyncSubscription", "Subscription", "subscribe", "subscribe_async"]

_log = logging.getLogger(__name__)


class Subscription(Iterator[PosesResult]):
    """Gives the people of each frame as `PosesResult`; dropped frames are passed over."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> PosesResult:
        while True:
            result = _result(next(self._messages))
            if result is not None:
                return result

    @property
    def layout(self) -> Mapping[str, Any] | None:
        """What the keypoints mean: `keypoints` has their names; None before the publisher has told it."""
        return self._messages.layout

    def wait_until_heard(self, timeout_s: float) -> bool:
        """Wait until the publisher knows of this subscription and has told its layout; False if it has not in time."""
        return self._messages.wait_for_layout(timeout_s)

    def close(self) -> None:
        """Listen no more."""
        self._messages.close()


class AsyncSubscription(AsyncIterator[PosesResult]):
    """The same for `async for`."""

    def __init__(self, messages: AsyncMessages) -> None:
        self._messages = messages

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> PosesResult:
        while True:
            result = _result(await anext(self._messages))
            if result is not None:
                return result

    @property
    def layout(self) -> Mapping[str, Any] | None:
        """What the keypoints mean; None before the publisher has told it."""
        return self._messages.layout

    def close(self) -> None:
        """Listen no more."""
        self._messages.close()


def subscribe(
    address: str,
    sources: Sequence[str] | None = None,
    *,
    replay: bool = False,
    after: Mapping[str, tuple[str, int]] | None = None,
    on_gap: Callable[[Gap], None] = tell_gap,
    idle_s: float | None = None,
    key: str | Path | None = None,
    server_key: str | Path | None = None,
) -> Subscription:
    """Listen to a publisher (`run --publish`), and connect again whenever it was away.

    Each source's results come in order and once. Missed ones are asked for with `replay`; those that could not be had
    again, or without `replay` all of them, are told to `on_gap`, before the result that follows them.

    Args:
        address: such as "tcp://host:5556" or "ipc:///run/me/poses".
        sources: names; None: all there are.
        replay: True: begin with what the publisher still has, and ask for whatever is missed later.
        after: of each source, the run and number (`n`) of the last message that is known; with `replay` it goes on from
            there.
        on_gap: called for each gap; by default gaps are logged as warnings.
        idle_s: end after so many seconds without a message; None: never.
        key: a secret key's file, where the publisher wants keys (`keys new`).
        server_key: the file of the publisher's public key.

    Raises:
        SettingsError: the address is none, or a key cannot be read.
    """
    guard = _guard(key, server_key)
    return Subscription(
        Messages(address, sources, replay=replay, after=after, on_gap=on_gap, idle_s=idle_s, guard=guard)
    )


def subscribe_async(
    address: str,
    sources: Sequence[str] | None = None,
    *,
    replay: bool = False,
    after: Mapping[str, tuple[str, int]] | None = None,
    on_gap: Callable[[Gap], None] = tell_gap,
    idle_s: float | None = None,
    key: str | Path | None = None,
    server_key: str | Path | None = None,
) -> AsyncSubscription:
    """Do as `subscribe` for `async for`; call it within a running loop."""
    guard = _guard(key, server_key)
    return AsyncSubscription(
        AsyncMessages(address, sources, replay=replay, after=after, on_gap=on_gap, idle_s=idle_s, guard=guard)
    )


def _guard(key: str | Path | None, server_key: str | Path | None) -> ConnectGuard:
    return ConnectGuard.of(
        None if key is None else Path(key).expanduser(), None if server_key is None else Path(server_key).expanduser()
    )


def _result(message: Mapping[str, Any]) -> PosesResult | None:
    """Read a message; None for a drop, and for what holds something else than the protocol says."""
    if message["type"] != "poses":
        return None
    try:
        return PosesResult.from_message(message)
    except (KeyError, TypeError, ValueError) as error:
        _log.warning("message %s of %s cannot be read: %r", message["n"], message["source"], error)
        return None
