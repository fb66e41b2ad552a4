"""The messages between a replica and the dispatcher: what it can hold, what it is given and what it gives back.

`head` in what a replica says is the head that it serves, as in `Serve`: one that outlives its head may be heard by
another one at the same address, which must take nothing of it for its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Le

from posestream.pipeline.wire.lane_messages import Keypoints, Posed, Task
from posestream.stages.items import FrameKey

__all__ = [
    "PROTOCOL",
    "Failed",
    "Heard",
    "Heartbeat",
    "Join",
    "OtherProtocol",
    "ReplicaBye",
    "ReplicaHello",
    "Result",
    "Serve",
    "Stop",
    "Work",
]

#: Counts the changes of what heads and workers say to each other after `Join`, which those without them would not
#: understand.
PROTOCOL = 1
#: Frames that a replica can hold, or likes together: far more than any engine takes, and few enough to be summed up.
_Frames = Annotated[int, Le(1 << 16)]


@dataclass(frozen=True, slots=True)
class ReplicaHello:
    """A replica is there and loads (`credits` = 0) or asks for work.

    `credits` is how many frames it will hold at once from now on.
    """

    replica: str
    head: str
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
    head: str
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
    head: str
    posed: Posed


@dataclass(frozen=True, slots=True)
class Failed:
    """A replica could not do this frame; gives one credit back."""

    replica: str
    head: str
    source: str
    seq: int
    error: str


@dataclass(frozen=True, slots=True)
class ReplicaBye:
    """A replica leaves; what it holds is to be given to others. `has_failed`: one of the frames may be to blame."""

    replica: str
    head: str
    has_failed: bool
    #: What made it leave, for people; empty where it was asked to.
    error: str


@dataclass(frozen=True, slots=True)
class Join:
    """A worker asks what it is to serve, before it loads anything.

    Every version says it so, and understands `OtherProtocol`, so that two that differ can tell.
    """

    replica: str
    device: str
    #: The worker's `PROTOCOL`.
    protocol: int


@dataclass(frozen=True, slots=True)
class OtherProtocol:
    """A head turns away a worker whose `PROTOCOL` is another one than its own, which is this."""

    protocol: int


@dataclass(frozen=True, slots=True)
class Serve:
    """What a replica is to serve: a network by name and digests, how often each frame is seen, and how to group."""

    #: The head that wants it: chance, and another one at every start.
    head: str
    model: str
    digests: tuple[str, ...]
    #: How many each person has in its layout.
    keypoints: Keypoints
    precision: str
    requests: int
    #: As in `[replicas]`.
    batch: _Frames
    hang_s: float
    #: The `[group]` table as JSON.
    group: str
    #: True: mirrored too.
    flip: bool
    #: As fractions of the frame's network input.
    scales: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """The dispatcher heard a heartbeat: the head is alive, if it is still the one that the replica serves."""

    head: str


@dataclass(frozen=True, slots=True)
class Work:
    """Frames for a replica, all of one input shape. Payloads: one picture per task."""

    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """The receiver finishes what it holds and leaves."""
