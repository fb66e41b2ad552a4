"""What the supervisor needs of a lane or a replica, be it threads of this process or a process of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from posestream.pipeline.lane.state import LaneProgress
from posestream.stages.errors import OutputError
from posestream.stages.output.display import DisplaySink
from posestream.stages.source.link_state import LinkState

__all__ = ["LaneHandle", "LinkReport", "ReplicaHandle", "is_killed"]

#: How long a part that was killed may take to be gone, in seconds.
_GONE_S = 1.0


@dataclass(frozen=True, slots=True)
class LinkReport:
    """How a live source's connection is, how many gave frames so far, and which epoch the next one begins."""

    state: LinkState
    connections: int
    next_epoch: int


class _Handle(Protocol):
    @property
    def name(self) -> str:
        """What people and the dispatcher call it."""

    @property
    def is_alive(self) -> bool:
        """True until it has ended, in whatever way."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Finish what is in hand, then end."""

    def kill(self) -> None:
        """End at once, where that is possible."""

    def join(self, deadline_s: float) -> bool:
        """Wait for the end until the monotonic clock's `deadline_s`; False if it has not come."""


class ReplicaHandle(_Handle, Protocol):
    """A replica."""

    @property
    def description(self) -> str:
        """Its engine in a few words; empty until that is open."""

    @property
    def error(self) -> BaseException | None:
        """What ended it, if it was not asked to."""

    @property
    def is_killable(self) -> bool:
        """True if `kill` ends it whatever it does: a process, but not a thread."""


class LaneHandle(_Handle, Protocol):
    """A lane."""

    def pause(self) -> None:
        """Take no frames until `resume`: a recording and standard input wait, a camera's connection is dropped."""

    def resume(self) -> None:
        """Take frames again."""

    @property
    def frame_count(self) -> int | None:
        """How many frames to expect; None where that is not known."""

    @property
    def progress(self) -> LaneProgress:
        """What its outputs have seen."""

    @property
    def display_sinks(self) -> Sequence[DisplaySink]:
        """Those of its outputs that the head's main thread must show."""

    @property
    def has_died(self) -> bool:
        """True if it ended before it had finished, and another one can go on."""

    @property
    def is_silent(self) -> bool:
        """True if it should have been heard and was not: it hangs."""

    @property
    def has_left_source(self) -> bool:
        """True if it ended without its source's thread, which hangs and keeps its sockets."""

    @property
    def death(self) -> BaseException:
        """What is known of how it died."""

    @property
    def crash(self) -> BaseException | None:
        """What stopped it in a way that no other one can go on from."""

    @property
    def link(self) -> LinkReport | None:
        """How a live source's connection is; None for other sources, and where that is not known yet."""

    @property
    def source_error(self) -> BaseException | None:
        """What ended the source early, or kept it from opening."""

    @property
    def output_errors(self) -> Sequence[OutputError]:
        """Outputs that failed."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What was written."""


def is_killed(part: LaneHandle | ReplicaHandle) -> bool:
    """End a part at once; False if even that does not help."""
    part.kill()
    return part.join(time.monotonic() + _GONE_S)
