"""Goes on with a source where the outputs of an earlier process end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from posestream.stages.errors import SourceError
from posestream.stages.items import Frame, FrameKey
from posestream.stages.message import tells_of
from posestream.stages.output.held import Held
from posestream.stages.source.protocol import SourceInfo

__all__ = ["Beginning", "go_on", "next_seq"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a source begins for those who take its frames."""

    #: What the source tells of itself, with the numbers of its first frame and picture.
    info: SourceInfo
    #: Its frames from there on; they end as the source does, in an error too.
    frames: Iterator[Frame]
    #: The number of its first message.
    first_n: int


def next_seq(helds: Sequence[Held], least_seq: int = 0) -> int:
    """Give the number with which a live source goes on: that of the first frame that no output knows."""
    return max([least_seq, *(held.next_seq for held in helds)])


def go_on(
    info: SourceInfo,
    frames: Iterator[Frame],
    helds: Sequence[Held],
    least_seq: int = 0,
    is_stopping: Callable[[], bool] = lambda: False,
    least_epoch: int = 0,
) -> Beginning:
    """Begin a source with its first frame that some output lacks.

    A recorded source is decoded up to there. Seeking would be faster, but frames are the same and have the same numbers
    only if the decoder went through all before them. A live source begins now and is numbered on; a file
    at its own speed has passed over as many frames by itself.

    Args:
        info: what the opened source tells of itself.
        frames: all its frames.
        helds: what each output holds that keeps anything; with none of them, nothing is passed over.
        least_seq: the number that a live source's first frame has at least.
        is_stopping: asked before each frame that is passed over; True leaves no frames.
        least_epoch: the epoch that a live source's first frame has at least.

    Raises:
        SourceError: (from `frames`, too) a frame is another one than an output tells of.
    """
    if info.is_live:
        return _numbered_on(info, frames, helds, least_seq, least_epoch)
    frames = _checked(frames, helds)
    passed = pictures = 0
    if helds:
        frames, passed, pictures = _pass_over(frames, helds, is_stopping)
    if passed:
        _log.info("%s goes on with frame %d; the outputs hold those before it", info.name, passed)
    return Beginning(replace(info, first_seq=passed, first_picture=pictures), frames, passed)


def _pass_over(
    frames: Iterator[Frame], helds: Sequence[Held], is_stopping: Callable[[], bool]
) -> tuple[Iterator[Frame], int, int]:
    """Give the frames from the first one on that an output lacks, and how many frames and pictures come before it."""
    passed = pictures = 0
    while not is_stopping():
        try:
            frame = next(frames, None)
        except SourceError as error:
            return _failing(error), passed, pictures
        if frame is None:
            return frames, passed, pictures
        # Every output is asked, whatever the others said: those that know frames by their names remember them.
        lacking = [held.lacks(frame, pictures) for held in helds]
        if any(lacking):
            return chain([frame], frames), passed, pictures
        passed += 1
        pictures += frame.picture is not None
    return iter(()), passed, pictures


def _numbered_on(
    info: SourceInfo, frames: Iterator[Frame], helds: Sequence[Held], least_seq: int, least_epoch: int
) -> Beginning:
    """Number a live source's frames after those that the outputs know, in an epoch of their own."""
    first_seq = next_seq(helds, least_seq)
    # Some outputs hold no message of a frame without people, so that others know of later ones.
    last = max((held.last for held in helds if held.last is not None), key=lambda told: told["n"], default=None)
    epoch = max(least_epoch, last["epoch"] + 1 if last is not None else int(first_seq > 0))
    numbered = (
        replace(frame, key=FrameKey(frame.key.source, first_seq + frame.key.seq), epoch=epoch + frame.epoch)
        for frame in frames
    )
    return Beginning(replace(info, first_seq=first_seq), numbered, last["n"] + 1 if last is not None else first_seq)


def _checked(frames: Iterator[Frame], helds: Sequence[Held]) -> Iterator[Frame]:
    """Give frames on, and raise where one is another one than an output tells of."""
    lasts = {held.last["seq"]: held.last for held in helds if held.last is not None}
    for frame in frames:
        last = lasts.get(frame.key.seq)
        if last is not None and not tells_of(last, frame):
            raise SourceError(
                f"{frame.key.source} is not what it was: frame {frame.key.seq} is another one than the outputs tell "
                "of; give the same source and the same beginning, or replace the outputs (--overwrite)"
            )
        yield frame


def _failing(error: SourceError) -> Iterator[Frame]:
    """Raise an error when the first frame is asked for."""
    raise error
    yield
