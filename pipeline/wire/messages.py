"""The envelope of every hop, `[header (msgpack) | payload buffers …]`, and the messages that travel in it."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

import msgpack
import numpy as np
import zmq
from numpy.typing import DTypeLike, NDArray

from posestream.pipeline.errors import DecodeError
from posestream.pipeline.wire.codec import record_check, record_pack
from posestream.stages.items import FrameKey, Reason, Stage

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
    "PublishStatus",
    # inside a replica
    "Fields",
    # the envelope
    "Envelope",
    "Message",
    "array",
    "decode",
    "encode",
]


@dataclass(frozen=True, slots=True)
class FrameReady:
    """Decode → preprocess: a frame lies in the lane's store."""

    seq: int


@dataclass(frozen=True, slots=True)
class Done:
    """To the next thread of a lane or a replica: nothing more comes."""


@dataclass(frozen=True, slots=True)
class LaneHello:
    """A lane listens for results and is about to send tasks; `max_age_s` is set for live sources."""

    source: str
    is_live: bool
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
    height: int
    width: int
    scale_x: float
    scale_y: float
    source_width: int
    source_height: int


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


@dataclass(frozen=True, slots=True)
class Posed:
    """A frame's people. Payloads: float32 people×keypoints×3 in source pixels, float32 people scores."""

    source: str
    seq: int
    people: int
    keypoints: int
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
    credits: int
    #: How many frames of one size it likes to be given together; 1 where that gains nothing.
    batch: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A replica's work loop goes round; `is_loading` while it compiles for a new input shape.

    `credits` and `batch` as in `ReplicaHello`, so that one that was given up is known again by this alone.
    """

    replica: str
    is_loading: bool
    credits: int
    batch: int
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
    batch: int
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
    PublishStatus,
]
#: What a socket takes as one part: bytes, or anything with a buffer that may travel without a copy.
Part = Any

#: Largest header in bytes; a larger one is not ours.
MAX_HEADER_BYTES = 1 << 16
#: Longest side of an array on the wire.
_LONGEST_SIDE = 1 << 20


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message and its payloads, as they came off a socket."""

    message: Message
    payloads: tuple[zmq.Frame, ...]


def encode(message: Message, payloads: Sequence[Part] = ()) -> list[Part]:
    """Give the parts to send: the header, then the payloads as they are."""
    kind = type(message)
    header: bytes = msgpack.packb((kind.__name__, *_PACKS[kind](message)))
    return [header, *payloads]


def decode(parts: Sequence[zmq.Frame]) -> Envelope:
    """Read an envelope.

    Raises:
        DecodeError: the parts are not a message of ours; the text says in what way.
    """
    if not parts:
        raise DecodeError("an envelope without parts")
    header = parts[0].buffer
    if len(header) > MAX_HEADER_BYTES:
        raise DecodeError(f"a header of {len(header)} bytes")
    try:
        values = msgpack.unpackb(header, use_list=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not msgpack: {error}") from error
    if not isinstance(values, tuple) or not values or not isinstance(values[0], str):
        raise DecodeError("a header that is not [kind, fields …]")
    check = _CHECKS.get(values[0])
    if check is None:
        raise DecodeError(f"unknown kind {values[0][:40]!r}")
    return Envelope(check(values[1:]), tuple(parts[1:]))


def array(payload: zmq.Frame, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """View a payload as a read-only array without copying it.

    Raises:
        DecodeError: the payload's size does not fit.
    """
    wanted = np.dtype(dtype)
    # A shape with a zero in it fits an empty payload whatever its other sides are.
    is_possible = all(0 <= side <= _LONGEST_SIDE for side in shape)
    if not is_possible or len(payload.buffer) != wanted.itemsize * math.prod(shape):
        raise DecodeError(f"a payload of {len(payload.buffer)} bytes for {shape} {wanted}")
    view = np.frombuffer(payload.buffer, wanted).reshape(shape)
    view.flags.writeable = False
    return view


_KINDS: tuple[type, ...] = typing.get_args(Message)
_PACKS = {kind: record_pack(kind) for kind in _KINDS}
_CHECKS = {kind.__name__: record_check(kind) for kind in _KINDS}
