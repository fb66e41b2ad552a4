"""The sockets of a subscription: bounded, probed by the kernel, and connected to where the publisher can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zmq

from posestream.pipeline.client.core import SubscriberCore
from posestream.pipeline.client.refusals import Refusals
from posestream.pipeline.client.replay_address import replay_of
from posestream.pipeline.security.guard import ConnectGuard
from posestream.stages.errors import SettingsError

__all__ = ["Wire"]

#: Messages that wait in the socket at most; beyond them the publisher holds some back, then drops.
_WAITING = 1000
#: Largest message that is taken, in bytes.
_MOST_BYTES = 64 << 20
#: Pauses between attempts to connect again, in milliseconds.
_RECONNECT_MS, _MOST_RECONNECT_MS = 100, 2_000
#: A host that is silent on the wire is probed by the kernel after so many seconds, then every so many, and given up
#: after so many probes. ZeroMQ's pings are not for this: libzmq 4.3.5 stops reading from a connection whose queue is
#: full, and if that is then reset, the next ping or pong ends this process (`!_io_error` in stream_engine_base.cpp).
_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES = 2, 1, 4


class Wire:
    """The sockets of a subscription."""

    def __init__(self, context: zmq.Context[Any], address: str, core: SubscriberCore, guard: ConnectGuard) -> None:
        if not isinstance(address, str):
            raise SettingsError(f"address {address!r} is no text; write tcp://HOST:PORT")
        self._context = context
        self._address = address
        self._core = core
        self._guard = guard
        #: The layout that was looked at last, and where requests can be sent by what it says.
        self._layout: Mapping[str, Any] | None = None
        self._offered: str | None = None
        self._asking_at = ""
        self._refusals = Refusals(context)
        self.live = self._open(zmq.SUB)
        self.asking = self._open(zmq.DEALER)
        try:
            for topic in core.topics:
                self.live.setsockopt(zmq.SUBSCRIBE, topic)
            guard.apply(self.live, address)
            self._refusals.connect(self.live, address)
        except SettingsError:
            self.close()
            raise
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
        if self._core.layout is not self._layout:
            self._layout = self._core.layout
            self._offered = replay_of(self._address, self._layout)
        if self._offered is None:
            return []
        if self._offered != self._asking_at:
            # A publisher that was started again may be asked elsewhere.
            self._guard.apply(self.asking, self._offered)
            self._refusals.connect(self.asking, self._offered)
            self._asking_at = self._offered
        return self._core.requests()

    def close(self) -> None:
        """Let go of both."""
        self.live.close()
        self.asking.close()
        self._refusals.close()
