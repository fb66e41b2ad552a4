"""Asks a running head about its sources."""

from __future__ import annotations

import secrets
from typing import cast, get_args

import zmq

from posestream.pipeline.control.roster import Answer, Question
from posestream.pipeline.errors import DecodeError, HeadError
from posestream.pipeline.security.guard import UNGUARDED, ConnectGuard
from posestream.pipeline.supervision.run_folder import control_addresses
from posestream.pipeline.wire.control import Listing, ListSources, SourceEntry
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, send, wait_for
from posestream.stages.errors import SettingsError

__all__ = ["ask", "list_sources", "the_one_run"]

#: How long an answer may take, in seconds: a head looks for questions ten times a second.
_PATIENCE_S = 10.0


def ask(address: str, question: Question, guard: ConnectGuard = UNGUARDED, patience_s: float = _PATIENCE_S) -> Answer:
    """Ask one question and give the answer.

    Raises:
        SettingsError: the address is none.
        HeadError: nobody answers there, or not as a head does.
    """
    context: ZmqContext = zmq.Context()
    try:
        with Sockets(context) as sockets:
            try:
                socket = sockets.open(
                    zmq.DEALER,
                    connect=address,
                    identity=f"control-{secrets.token_hex(8)}",
                    patience_ms=round(patience_s * 1000),
                    guard=guard,
                )
            except zmq.ZMQError as error:
                raise SettingsError(f"cannot connect to {address}: {str(error.strerror).lower()}") from error
            # A head that is not there would keep the question, and this process, for ever.
            socket.linger = 0
            send(socket, question)
            return _answer_of(address, socket, patience_s, guard)
    finally:
        context.term()


def list_sources(address: str, guard: ConnectGuard = UNGUARDED) -> list[SourceEntry]:
    """Give every source that a run has or had.

    Raises:
        SettingsError, HeadError: as with `ask`.
    """
    entries: list[SourceEntry] = []
    while True:
        answer = ask(address, ListSources(len(entries)), guard)
        if not isinstance(answer, Listing) or (answer.left and not answer.sources):
            raise HeadError(f"{address} does not answer as a run does")
        entries += answer.sources
        if not answer.left:
            return entries


def the_one_run() -> str:
    """Give where the one run of this user on this host listens.

    Raises:
        HeadError: there is none.
        SettingsError: there are several.
    """
    addresses = control_addresses()
    if not addresses:
        raise HeadError("no run is going on here; start one, or say where it listens (--connect)")
    if len(addresses) > 1:
        raise SettingsError(f"several runs are going on: say which with --connect: {', '.join(addresses)}")
    return addresses[0]


def _answer_of(address: str, socket: zmq.Socket[bytes], patience_s: float, guard: ConnectGuard) -> Answer:
    try:
        envelope = wait_for(socket)
    except DecodeError as error:
        raise HeadError(f"{address} does not answer as a run does: {error}") from error
    if envelope is None:
        hint = "; does it allow this key?" if guard.keys is not None else ""
        raise HeadError(f"nobody answers at {address} within {patience_s:g} s{hint}")
    if not isinstance(envelope.message, get_args(Answer)):
        raise HeadError(f"{address} does not answer as a run does")
    return cast(Answer, envelope.message)
