"""What the dispatcher decides: who is to be given what, and who is to be told what."""

from __future__ import annotations

from dataclasses import dataclass

from posestream.stages.items import Drop, FrameKey

__all__ = ["Action", "Assign", "End", "Finish", "RecallFrame"]


@dataclass(frozen=True, slots=True)
class Assign:
    """Give these frames, all of one size, to this replica together."""

    replica: str
    keys: tuple[FrameKey, ...]


@dataclass(frozen=True, slots=True)
class End:
    """Tell the lane that the frame has ended: with the poses just received, or dropped."""

    key: FrameKey
    drop: Drop | None


@dataclass(frozen=True, slots=True)
class RecallFrame:
    """Ask the lane to send the frame's task again."""

    key: FrameKey


@dataclass(frozen=True, slots=True)
class Finish:
    """Tell the lane that all its frames have ended and no more will come."""

    source: str


Action = Assign | End | RecallFrame | Finish
