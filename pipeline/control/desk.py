"""Where a run is asked about its sources: one socket, looked after by the run's own thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import zmq

from posestream.pipeline.addresses import LOCAL
from posestream.pipeline.control.roster import Answer, Question
from posestream.pipeline.errors import DecodeError
from posestream.pipeline.publish.entrance import Entrance, NoEntrance, open_entrance
from posestream.pipeline.publish.guest import Allowance
from posestream.pipeline.security.guard import OPEN, ListenGuard
from posestream.pipeline.supervision.run_folder import CONTROL_SOCKET, RunFolder
from posestream.pipeline.wire.envelope import MAX_HEADER_BYTES
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, has_more, receive_from, send_to
from posestream.stages.errors import SettingsError

__all__ = ["ControlDesk", "NoDesk", "open_desk"]

_log = logging.getLogger(__name__)

#: What a connection over TCP may send: some questions at once, and a few a second.
_QUESTIONS = Allowance(128 << 10, 4 << 10)
#: So many malformed messages are logged; more are only counted, lest somebody fill the log.
_TOLD_MALFORMED = 3
#: Questions that are answered in one go, so that a flood of them does not stop all else.
_AT_ONCE = 100


class ControlDesk:
    """Listens in the run's folder, which only this user may enter, and at further addresses.

    Args:
        addresses: what was asked for; `LOCAL` or an address.
        guard: what guards it over TCP.
        clients: where the public keys of those lie who may ask then.

    Raises:
        SettingsError: an address is taken, or none of this machine's.
    """

    def __init__(self, addresses: Sequence[str], guard: ListenGuard = OPEN, clients: Path | None = None) -> None:
        self._folder = RunFolder()
        self._context: ZmqContext = zmq.Context()
        self._sockets = Sockets(self._context)
        self._entrance: Entrance | NoEntrance = NoEntrance()
        self.malformed = 0
        #: Where it listens, ports that were left open filled in.
        self.addresses: tuple[str, ...] = ()
        try:
            self._entrance = open_entrance(self._context, addresses, guard, clients)
            self._socket = self._sockets.open(zmq.ROUTER)
            self._entrance.watch(self._socket, _QUESTIONS)
            # Who sends more is cut off before any of it is kept.
            self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_HEADER_BYTES)
            local = f"ipc://{self._folder.path / CONTROL_SOCKET}"
            wanted = [local, *(address for address in addresses if address != LOCAL)]
            self.addresses = tuple(self._sockets.bind(self._socket, address, guard) for address in wanted)
        except SettingsError:
            self.close()
            raise
        _log.log(logging.INFO if addresses else logging.DEBUG, "sources can be changed at %s", self._told())

    def __repr__(self) -> str:
        return f"<ControlDesk {self._told()} malformed={self.malformed}>"

    @property
    def refused(self) -> int:
        """How many connections were turned away."""
        return self._entrance.refused

    def tick(self, answer: Callable[[Question], Answer]) -> None:
        """Answer what was asked since the last time."""
        for _ in range(_AT_ONCE):
            if not has_more(self._socket):
                return
            try:
                peer, envelope = receive_from(self._socket)
            except DecodeError as error:
                self._ignore(str(error))
                continue
            if isinstance(envelope.message, get_args(Question)) and not envelope.payloads:
                send_to(self._socket, peer, answer(envelope.message))
            else:
                self._ignore(f"{type(envelope.message).__name__} from {peer!r}")

    def clean_up(self) -> None:
        """Remove what would outlive this process; for those who end it without `close`."""
        self._folder.remove()

    def close(self) -> None:
        """Listen no more; closing again does nothing."""
        self._sockets.__exit__(None, None, None)
        self._entrance.close()
        self._context.term()
        self._folder.remove()

    def _ignore(self, what: str) -> None:
        """Count a message that is no question."""
        self.malformed += 1
        is_told = self.malformed <= _TOLD_MALFORMED
        _log.log(logging.WARNING if is_told else logging.DEBUG, "ignored a malformed message: %s", what)

    def _told(self) -> str:
        return ", ".join(self.addresses)


class NoDesk:
    """Stands for the desk where none can be had."""

    malformed = refused = 0

    def tick(self, answer: Callable[[Question], Answer]) -> None:
        """Nobody asks."""

    def clean_up(self) -> None:
        """Nothing outlives the process."""

    def close(self) -> None:
        """Nothing is to be closed."""


def open_desk(addresses: Sequence[str], guard: ListenGuard = OPEN, clients: Path | None = None) -> ControlDesk | NoDesk:
    """Give the desk of a run; where nobody asked for it, a run does without one that cannot be had.

    Raises:
        SettingsError: it was asked for and cannot be had.
    """
    try:
        return ControlDesk(addresses, guard, clients)
    except (SettingsError, OSError) as error:
        if addresses:
            raise SettingsError(f"control: {error}") from error
        _log.warning("sources cannot be changed while this runs: %s", error)
        return NoDesk()
