"""A replica that joins a running head from anywhere, and may leave at any moment."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time

import zmq

from posestream.models.choice import AUTO
from posestream.models.engines import check_device
from posestream.models.weights import WeightStore
from posestream.pipeline.errors import DecodeError, ExitCode, HeadError, HungError, OtherHeadError, PipelineError
from posestream.pipeline.replica.replica import Replica
from posestream.pipeline.replica.serving import serving_of
from posestream.pipeline.security.guard import UNGUARDED, ConnectGuard
from posestream.pipeline.wire.messages import PROTOCOL, Join, OtherProtocol, Serve
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, ZmqSocket, receive, send
from posestream.stages.errors import SettingsError

__all__ = ["Worker"]

_log = logging.getLogger(__name__)

#: How often a head that does not answer is asked again, in seconds.
_ASK_S = 1.0
#: How often the worker's loop looks, in seconds.
_LOOK_S = 0.1
#: How long an engine that hangs may take to be closed, in seconds.
_CLOSING_S = 1.0


class Worker:
    """Asks a head what to serve, serves it, and ends when the head does, unless another one is in its place by then.

    Args:
        address: where the head listens, such as "tcp://10.0.0.5:5555" or "ipc:///run/me/head".
        device: a device string, or "auto".
        patience_s: how long the head may be away, at the start and later, in seconds.
        guard: its keys, where the head wants keys.
    """

    def __init__(self, address: str, device: str, patience_s: float, guard: ConnectGuard = UNGUARDED) -> None:
        self._address = address
        self._guard = guard
        self._device = device
        self._patience_s = patience_s
        self._is_stopping = False

    @property
    def is_stopping(self) -> bool:
        """True once it was told to leave."""
        return self._is_stopping

    def stop(self) -> None:
        """Finish what is in hand, then leave."""
        self._is_stopping = True

    def run(self) -> ExitCode:
        """Serve until the head stops, or `stop` is called.

        Raises:
            SettingsError: the address is none.
            HeadError: there is no head, it is of another version, or it has gone.
            ModelError, EngineError: the device is not here, or what the head wants cannot be served.
        """
        if self._device != AUTO:
            check_device(self._device)
        context: ZmqContext = zmq.Context()
        # For all its sockets: those within the process take no notice.
        self._guard.apply(context, self._address)
        try:
            while self._serve_one(context):
                _log.warning("another head is at %s; it is asked what to serve", self._address)
        except HungError:
            raise  # its threads are left with their sockets, for which the context would wait
        except Exception:
            context.term()
            raise
        context.term()
        return ExitCode.DONE

    def _serve_one(self, context: ZmqContext) -> bool:
        """Serve the head that is there to its end, or ours; True if another one has taken its place."""
        # Another name for each, so that nothing that is still on its way is taken for what is said now.
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        serve = self._ask(context, name)
        if serve is None:
            return False
        serving = serving_of(serve, self._device, WeightStore.from_environment())
        _log.info("serving %s on %s for %s", serving.spec.name, serving.device, self._address)
        replica = Replica(name, serve.head, context, self._address, serving, lambda: None, self._patience_s)
        replica.start()
        while not replica.join(time.monotonic() + _LOOK_S):
            if replica.hangs and not replica.join(time.monotonic() + _CLOSING_S):
                break  # its engine may never let itself be closed; the process ends with it
            if self._is_stopping:
                replica.stop()
        if isinstance(replica.error, OtherHeadError):
            return not self._is_stopping
        if replica.error is not None:
            raise replica.error
        return False

    def _ask(self, context: ZmqContext, name: str) -> Serve | None:
        """Ask the head what it wants; None if stopped meanwhile."""
        deadline_s = time.monotonic() + self._patience_s
        with Sockets(context) as sockets:
            try:
                head = sockets.open(zmq.DEALER, connect=self._address, identity=name)
            except zmq.ZMQError as error:
                raise SettingsError(
                    f"--connect {self._address}: {error.strerror}; write tcp://HOST:PORT or ipc://PATH"
                ) from error
            while time.monotonic() < deadline_s and not self._is_stopping:
                try:
                    send(head, Join(name, self._device, PROTOCOL))
                except PipelineError:
                    break  # a head that turns a key away leaves nobody to send to
                if head.poll(int(_ASK_S * 1000)):
                    return self._answer(head)
        if self._is_stopping:
            return None
        hint = "; does it allow this key?" if self._guard.keys is not None else ""
        raise HeadError(f"no head answers at {self._address}{hint}")

    def _answer(self, head: ZmqSocket) -> Serve:
        """Take what the head answered."""
        try:
            message = receive(head).message
        except DecodeError as error:
            raise HeadError(f"what answers at {self._address} is no head of this version: {error}") from error
        if isinstance(message, OtherProtocol):
            raise HeadError(
                f"the head at {self._address} speaks protocol {message.protocol}, this worker {PROTOCOL}: install the "
                "same version of posestream on both"
            )
        if not isinstance(message, Serve):
            raise HeadError(f"what answers at {self._address} is no head: it said {type(message).__name__}")
        return message
