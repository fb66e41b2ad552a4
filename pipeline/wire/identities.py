"""The names of lanes' sockets and of replicas, by which the dispatcher knows whom it hears and to whom it speaks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from posestream.pipeline.wire.messages import LaneDrop, LaneEnd, LaneHello, LaneReport, Task

__all__ = [
    "is_own_replica",
    "lane_speaker",
    "replica_identity",
    "report_identity",
    "results_identity",
    "tasks_identity",
]


def tasks_identity(source: str) -> str:
    """Name the socket through which a lane sends its tasks."""
    return f"{source}/tasks"


def results_identity(source: str) -> str:
    """Name the socket through which a lane receives results."""
    return f"{source}/results"


def report_identity(source: str) -> str:
    """Name the socket through which a lane's process tells of itself."""
    return f"{source}/report"


def replica_identity(number: int, generation: int) -> str:
    """Name a replica of the head's own; a successor has another name, so that late words of the dead are not its."""
    return f"replica-{number}.{generation}" if generation else f"replica-{number}"


def is_own_replica(name: str) -> bool:
    """True for names that a head gives its own replicas, and that nobody else may have."""
    return re.fullmatch(r"replica-\d+(\.\d+)?", name) is not None


#: What comes from a lane, and the name of the socket that it comes from.
_FROM_LANES: dict[type, Callable[[str], str]] = {
    LaneHello: results_identity,
    Task: tasks_identity,
    LaneDrop: tasks_identity,
    LaneEnd: tasks_identity,
    LaneReport: report_identity,
}


def lane_speaker(message: Any) -> str | None:
    """Name the only socket that may say this; None where it is not for lanes to say."""
    identity = _FROM_LANES.get(type(message))
    return None if identity is None else identity(message.source)
