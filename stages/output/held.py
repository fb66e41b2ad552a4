"""What an output holds of an earlier process's work, so that a later one can go on from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posestream.stages.items import Frame
from posestream.stages.message import Message

__all__ = ["Held", "lacks_all", "was_written_since"]


@dataclass(frozen=True, slots=True)
class Held:
    """What an output holds of a source in a way that the end of a process does not undo."""

    #: Tells whether it needs a frame, given how many frames with a picture the source has before that one. It is asked
    #: for each frame in order from the first on, and never says no of a frame that is missing.
    lacks: Callable[[Frame, int], bool]
    #: A number greater than that of every frame in it; 0 where it tells no numbers.
    next_seq: int = 0
    #: The last message in it; None where it holds none.
    last: Message | None = None
    #: How many of the source's first pictures are in it; 0 where it does not count them.
    pictures: int = 0


def lacks_all(frame: Frame, pictures_before: int) -> bool:  # noqa: ARG001  # whatever the frame
    """True: nothing is held."""
    return True


def was_written_since(path: Path, since_s: float) -> bool:
    """True if a file is there and was written at that time (in seconds since 1970) or later."""
    try:
        return path.stat().st_mtime >= since_s
    except OSError:
        return False
