"""A replica's second thread: groups field maps into people while the engine goes on."""

from __future__ import annotations

import time

import zmq

from posestream.models.spec import NetworkSpec
from posestream.pipeline.replica.progress import ReplicaProgress
from posestream.pipeline.wire.convert import maps_of, people_payloads, posed_of
from posestream.pipeline.wire.envelope import Envelope
from posestream.pipeline.wire.messages import Done, Fields, Result
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, ZmqSocket, send, wait_for
from posestream.stages.group.group import Group

__all__ = ["GroupLoop"]

#: Longest wait for an event, in milliseconds.
_POLL_MS = 100


class GroupLoop:
    """Groups field maps into people, in a thread of its own, while the engine goes on."""

    def __init__(
        self,
        context: ZmqContext,
        fields_address: str,
        people_address: str,
        group: Group,
        network: NetworkSpec,
        state: ReplicaProgress,
    ) -> None:
        self._context = context
        self._fields_address = fields_address
        self._people_address = people_address
        self._group = group
        self._network = network
        self._state = state

    def run(self) -> None:
        """Group until the work loop says that nothing more comes."""
        with Sockets(self._context) as sockets:
            fields = sockets.open(zmq.PULL, bind=self._fields_address, patience_ms=_POLL_MS)
            people = sockets.open(zmq.PUSH, connect=self._people_address)
            self._serve(fields, people)

    def _serve(self, fields: ZmqSocket, people: ZmqSocket) -> None:
        while True:
            envelope = wait_for(fields)
            if envelope is None:
                continue
            if isinstance(envelope.message, Done):
                return
            if isinstance(envelope.message, Fields):
                self._do(people, envelope.message, envelope)

    def _do(self, people: ZmqSocket, message: Fields, envelope: Envelope) -> None:
        started_s = time.perf_counter()
        poses = self._group(maps_of(message, envelope.payloads, self._network.stride))
        group_s = time.perf_counter() - started_s
        posed = posed_of(poses, len(self._network.layout.keypoints), message.infer_s, group_s)
        send(people, Result(self._state.name, self._state.head, posed), people_payloads(poses))
