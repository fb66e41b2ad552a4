"""Every message of the pipeline: who says what to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

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
from posestream.pipeline.wire.lane_messages import (
    Begun,
    Dropped,
    Finished,
    LaneDrop,
    LaneEnd,
    LaneHello,
    LaneReport,
    Posed,
    Publish,
    PublishEnd,
    PublishForget,
    Recall,
    Task,
    Welcome,
)
from posestream.pipeline.wire.replica_messages import (
    PROTOCOL,
    Failed,
    Heard,
    Heartbeat,
    Join,
    OtherProtocol,
    ReplicaBye,
    ReplicaHello,
    Result,
    Serve,
    Stop,
    Work,
)

__all__ = [
    # of what follows
    "PROTOCOL",
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
    "OtherProtocol",
    "Serve",
    "Stop",
    "Work",
    # lane, head → publisher
    "Publish",
    "PublishEnd",
    "PublishForget",
    "PublishStatus",
    # inside a replica
    "Fields",
    # any of them
    "Message",
]


@dataclass(frozen=True, slots=True)
class FrameReady:
    """Decode → preprocess: a frame lies in the lane's store."""

    seq: int


@dataclass(frozen=True, slots=True)
class Done:
    """To the next thread of a lane or a replica: nothing more comes."""


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
    OtherProtocol,
    Serve,
    Heard,
    Work,
    Stop,
    Fields,
    Publish,
    PublishEnd,
    PublishForget,
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
