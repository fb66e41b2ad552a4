"""The messages between a lane and the head: its frames, what became of each, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Le

from posestream.stages.items import Reason, Stage
from posestream.stages.source.link_state import LinkPhase

__all__ = [
    "Begun",
    "Dropped",
    "Finished",
    "Keypoints",
    "LaneDrop",
    "LaneEnd",
    "LaneHello",
    "LaneReport",
    "Posed",
    "Publish",
    "PublishEnd",
    "PublishForget",
    "Recall",
    "Task",
    "Welcome",
]

#: Sides of pictures in pixels.
_Pixels = Annotated[int, Le(1 << 20)]
#: People of a frame, and keypoints of each.
_People = Annotated[int, Le(1 << 20)]
Keypoints = Annotated[int, Le(1 << 10)]


@dataclass(frozen=True, slots=True)
class LaneHello:
    """A lane listens for results and is about to send tasks."""

    source: str
    #: True where frames come by themselves.
    is_live: bool
    #: True: of the frames that wait only the newest is wanted.
    keeps_newest: bool
    #: A frame that is older, in seconds, is not wanted; None: any age.
    max_age_s: float | None
    #: The seq of the first frame that will come: more than 0 where a lane goes on after another one died.
    first_seq: int


@dataclass(frozen=True, slots=True)
class Task:
    """A frame to infer. Payload: uint8 height×width×3 BGR."""

    source: str
    seq: int
    #: Capture time in seconds of the head's monotonic clock.
    captured_s: float
    height: _Pixels
    width: _Pixels
    scale_x: float
    scale_y: float
    #: What the network sees of the source's picture, in its pixels: all of it, or a region.
    source_width: _Pixels
    source_height: _Pixels
    source_left: _Pixels = 0
    source_top: _Pixels = 0


@dataclass(frozen=True, slots=True)
class LaneDrop:
    """A frame that the lane took but could not prepare."""

    source: str
    seq: int
    stage: Stage
    reason: Reason


@dataclass(frozen=True, slots=True)
class LaneEnd:
    """The lane takes no more frames."""

    source: str


@dataclass(frozen=True, slots=True)
class LaneReport:
    """What a lane's process tells of itself now and then, and a last time at its end.

    Payloads: the counts of its histogram of each stage's durations, int64, in the order of `latency.STAGES`.
    """

    source: str
    is_final: bool
    ended: int
    posed: int
    people: int
    first_result_s: float | None
    last_result_s: float | None
    frame_count: int | None
    paths: tuple[str, ...]
    #: Exit code and text of what ended the source early; "" where nothing did.
    source_error_code: int
    source_error: str
    output_errors: tuple[str, ...]
    #: How a live source's connection is, since when (seconds since 1970) and why; None for other sources.
    link_phase: LinkPhase | None = None
    link_since_s: float = 0.0
    link_why: str = ""
    #: Connections that gave frames so far, those of earlier processes included, and the epoch of the next one.
    connections: int = 0
    next_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Posed:
    """A frame's people. Payloads: float32 people×keypoints×3 in source pixels, float32 people scores."""

    source: str
    seq: int
    people: _People
    keypoints: Keypoints
    truncated: bool
    #: Time that the network and the grouping took, in seconds.
    infer_s: float
    group_s: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame that ended without poses."""

    source: str
    seq: int
    stage: Stage
    reason: Reason


@dataclass(frozen=True, slots=True)
class Finished:
    """Every frame that the lane took has ended."""

    source: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """The lane may begin, or the replicas are others than before: so many frames keep all of them busy."""

    credits: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A replica was given a live source's frame: nobody waits for the lane's newest one any more, so offer it."""

    source: str
    seq: int


@dataclass(frozen=True, slots=True)
class Recall:
    """The lane is asked to send a frame's task again: its replica was lost."""

    source: str
    seq: int


@dataclass(frozen=True, slots=True)
class Publish:
    """A lane's message for the head's publisher. Payload: the message as msgpack, as it goes to every subscriber."""

    source: str
    run: str
    n: int


@dataclass(frozen=True, slots=True)
class PublishEnd:
    """A lane has handed over its last message: the head's publisher need not wait for more."""

    source: str


@dataclass(frozen=True, slots=True)
class PublishForget:
    """A source has gone for good: nothing of it is to be kept once its messages are too old."""

    source: str
