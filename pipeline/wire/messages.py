"""The messages between the parts of the pipeline: who says what to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Union

from annotated_types import Le

from posestream.pipeline.wire.control import (
    AddSource,
    Agreed,
    Listing,
    ListSources,
    PauseSource,
    Refused,
    RemoveSource,
    ResumeSource,
)
from posestream.stages.items import FrameKey, Reason, Stage
from posestream.stages.source.link_state import LinkPhase

__all__ = [
    # between threads
    "Done",
    "FrameReady",
    # lane → dispatcher
    "LaneDrop",
    "LaneEnd",
    "LaneHello",
    "LaneReport",
    "Task",
    # dispatcher → lane
    "Begun",
    "Dropped",
    "Finished",
    "Posed",
    "Recall",
    "Welcome",
    # replica → dispatcher
    "Failed",
    "Heartbeat",
    "Join",
    "ReplicaBye",
    "ReplicaHello",
    "Result",
    # dispatcher → replica
    "Heard",
    "Serve",
    "Stop",
    "Work",
    # lane, head → publisher
    "Publish",
    "PublishEnd",
    "PublishStatus",
    # inside a replica
    "Fields",
    # any of them
    "Message",
]


#: Frames that a replica can hold, or likes together: far more than any engine takes, and few enough to be summed up.
_Frames = Annotated[int, Le(1 << 16)]
#: Sides of pictures in pixels.
_Pixels = Annotated[int, Le(1 << 20)]
#: People of a frame, and keypoints of each.
_People = Annotated[int, Le(1 << 20)]
_Keypoints = Annotated[int, Le(1 << 10)]


@dataclass(frozen=True, slots=True)
class FrameReady:
    """Decode → preprocess: a frame lies in the lane's store."""

    seq: int


@dataclass(frozen=True, slots=True)
class Done:
    """To the next thread of a lane or a replica: nothing more comes."""


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
    #: Connections that it had so far.
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Posed:
    """A frame's people. Payloads: float32 people×keypoints×3 in source pixels, float32 people scores."""

    source: str
    seq: int
    people: _People
    keypoints: _Keypoints
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
class ReplicaHello:
    """A replica is there and loads (`credits` = 0) or asks for work.

    `credits` is how many frames it will hold at once from now on.
    """

    replica: str
    #: Its engine in a few words, for people; empty while it loads.
    description: str
    credits: _Frames
    #: How many frames of one size it likes to be given together; 1 where that gains nothing.
    batch: _Frames
    #: How many of the frames that it holds may be of live sources: what its engine begins on soon. 0: all of them.
    fresh: _Frames = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A replica's work loop goes round; `is_loading` while it compiles for a new input shape.

    `credits`, `batch` and `fresh` as in `ReplicaHello`, so that one that was given up is known again by this alone.
    """

    replica: str
    is_loading: bool
    credits: _Frames
    batch: _Frames
    fresh: _Frames = 0
    #: The frames that it has: one that it was given long ago and has not was lost with a connection that was cut.
    held: tuple[FrameKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A replica has a frame's people; gives one credit back. Payloads as in `Posed`."""

    replica: str
    posed: Posed


@dataclass(frozen=True, slots=True)
class Failed:
    """A replica could not do this frame; gives one credit back."""

    replica: str
    source: str
    seq: int
    error: str


@dataclass(frozen=True, slots=True)
class ReplicaBye:
    """A replica leaves; what it holds is to be given to others. `has_failed`: one of the frames may be to blame."""

    replica: str
    has_failed: bool
    #: What made it leave, for people; empty where it was asked to.
    error: str


@dataclass(frozen=True, slots=True)
class Join:
    """A worker asks what it is to serve, before it loads anything."""

    replica: str
    device: str


@dataclass(frozen=True, slots=True)
class Serve:
    """What a replica is to serve: a network by name and digests, how often each frame is seen, and how to group."""

    model: str
    digests: tuple[str, ...]
    precision: str
    requests: int
    #: As in `[replicas]`.
    batch: _Frames
    #: The `[group]` table as JSON.
    group: str
    #: True: mirrored too.
    flip: bool
    #: As fractions of the frame's network input.
    scales: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """The dispatcher heard a heartbeat: the head is alive."""


@dataclass(frozen=True, slots=True)
class Work:
    """Frames for a replica, all of one input shape. Payloads: one picture per task."""

    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """The receiver finishes what it holds and leaves."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Infer → group: payloads heatmaps and PAFs, channels first."""

    task: Task
    heatmap_channels: int
    paf_channels: int
    rows: int
    columns: int
    dtype: str
    infer_s: float


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
class PublishStatus:
    """How a source is, or the whole where `source` is empty. Payload: msgpack."""

    source: str


Message = Union[  # noqa: UP007 - a runtime union of classes that is also walked below
    FrameReady,
    Done,
    LaneHello,
    Task,
    LaneDrop,
    LaneEnd,
    LaneReport,
    Posed,
    Dropped,
    Finished,
    Welcome,
    Begun,
    Recall,
    ReplicaHello,
    Heartbeat,
    Result,
    Failed,
    ReplicaBye,
    Join,
    Serve,
    Heard,
    Work,
    Stop,
    Fields,
    Publish,
    PublishEnd,
    PublishStatus,
    AddSource,
    RemoveSource,
    PauseSource,
    ResumeSource,
    ListSources,
    Agreed,
    Refused,
    Listing,
]
