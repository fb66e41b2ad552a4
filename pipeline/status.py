"""What the pipeline tells of itself: `status/SOURCE/` for each source, `status/` for the whole, once a second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import zmq

from posestream.pipeline.latency import STAGES
from posestream.pipeline.publish.entrance import open_entrance
from posestream.pipeline.publish.guest import Allowance
from posestream.pipeline.publish.topics import STATUS, source_status_topic
from posestream.pipeline.security.guard import OPEN, ListenGuard
from posestream.pipeline.supervision.handles import LaneHandle
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.pipeline.wire.sockets import Sockets, ZmqContext
from posestream.stages.errors import SettingsError
from posestream.stages.message import VERSION

__all__ = ["StatusPublisher", "pipeline_status", "source_status", "state_of"]

Status = dict[str, Any]

#: Time between two messages on the same topic, in seconds.
_EVERY_S = 1.0
#: What who listens may send: wishes of a hundred sources; some bytes a second are for pings.
_WISHES = Allowance(8 << 10, 64)


def source_status(supervisor: Supervisor, lane: LaneHandle) -> Status:
    """Tell of one source: `taken = posed + dropped + in_flight`, durations in milliseconds."""
    counts, seen = supervisor.counts(lane.name), lane.progress
    return {
        **_link(supervisor, lane),
        "v": VERSION,
        "type": "status",
        "source": lane.name,
        "at": time.time(),
        "taken": counts.taken,
        "posed": counts.posed,
        "dropped": dict(counts.dropped),
        "in_flight": counts.in_flight,
        "waiting": supervisor.waiting(lane.name),
        "restarts": supervisor.restarts(lane.name),
        "is_cut": supervisor.is_cut(lane.name),
        "latency_ms": {
            stage: {"p50": _ms(seen.latency[stage].percentile_s(50)), "p99": _ms(seen.latency[stage].percentile_s(99))}
            for stage in STAGES
        },
    }


def _link(supervisor: Supervisor, lane: LaneHandle) -> Status:
    """Tell how a source is: a live one's connection since when and why, and how often there was a new one."""
    link = lane.link
    if link is None:
        return {"state": state_of(supervisor, lane)}
    return {
        "state": state_of(supervisor, lane),
        "since": link.state.since_s,
        "why": link.state.why,
        "reconnects": max(0, link.connections - 1),
    }


def state_of(supervisor: Supervisor, lane: LaneHandle) -> str:
    """Say in a word how a source is."""
    places = supervisor.places
    if lane.is_alive and places[lane.name].is_retired:
        return "leaving"
    if lane.link is not None and not places[lane.name].is_retired:
        return lane.link.state.phase.value
    if lane.is_alive:
        return "paused" if places.is_paused(lane.name) else "running"
    return "failed" if lane.source_error else "removed" if places[lane.name].is_retired else "ended"


def pipeline_status(supervisor: Supervisor) -> Status:
    """Tell of the replicas and of what happened to them."""
    services = supervisor.services
    return {
        "v": VERSION,
        "type": "status",
        "at": time.time(),
        "replicas": [
            {"name": view.name, "state": view.state, "credits": view.credits, "held": view.held}
            for view in supervisor.replica_views
        ],
        "restarts": supervisor.replica_restarts,
        "redelivered": supervisor.redelivered,
        "malformed": supervisor.malformed,
        # Connections whose keys were not right.
        "refused": services.gate.refused + services.refused() + services.publishing.porch.refused,
        **services.publishing.porch.status,
    }


class StatusPublisher:
    """Publishes the status, `[topic, msgpack of the object]`, from one thread.

    It does so at addresses of its own, if there are any, and with the messages where those are published.

    Raises:
        SettingsError: an address is taken, or none of this machine's.
    """

    def __init__(self, addresses: Sequence[str], guard: ListenGuard = OPEN, clients: Path | None = None) -> None:
        self._context: ZmqContext = zmq.Context()
        self._entrance = open_entrance(self._context, addresses, guard, clients)
        self._sockets = Sockets(self._context)
        self._socket = self._sockets.open(zmq.PUB)
        self._entrance.watch(self._socket, _WISHES)
        self._due_s = 0.0
        try:
            #: Where it listens, ports that were left open filled in.
            self.addresses = tuple(self._sockets.bind(self._socket, address, guard) for address in addresses)
        except SettingsError:
            self.close()
            raise

    def tick(self, supervisor: Supervisor) -> None:
        """Publish if it is time."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _EVERY_S
            self.publish(supervisor)

    def publish(self, supervisor: Supervisor) -> None:
        """Publish how things are now."""
        for lane in supervisor.lanes:
            self._send(supervisor, lane.name, source_status(supervisor, lane))
        status = pipeline_status(supervisor)
        status["refused"] += self._entrance.refused
        self._send(supervisor, "", status)

    def close(self) -> None:
        """Let go of the socket; closing again does nothing."""
        self._sockets.__exit__(None, None, None)
        self._entrance.close()
        self._context.term()

    def _send(self, supervisor: Supervisor, source: str, status: Status) -> None:
        topic = source_status_topic(source) if source else STATUS
        self._socket.send_multipart([topic.encode(), msgpack.packb(status)])
        supervisor.services.publishing.tell(source, status)


def _ms(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s * 1000, 3)
