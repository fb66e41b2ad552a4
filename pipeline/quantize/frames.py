"""The frames that a network is quantised with: sampled evenly, no two alike, some of them held back for the gate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from posestream.stages.errors import SettingsError, SourceError
from posestream.stages.items import Frame, NetInput
from posestream.stages.preprocess import Preprocess
from posestream.stages.source.opening import open_source, redacted
from posestream.stages.source.settings import SourceSettings

__all__ = ["LEAST_FRAMES", "Frames", "check_recorded", "evenly", "sample_frames", "sampled"]

ItemT = TypeVar("ItemT")

#: Fewer frames tell nothing.
LEAST_FRAMES = 12
#: One frame of so many is held back.
_HELD_BACK = 3


@dataclass(frozen=True, slots=True)
class Frames:
    """Network inputs, no picture of which is in both."""

    #: What the ranges of values are taken from.
    calibration: tuple[NetInput, ...]
    #: What the gate looks at.
    held_back: tuple[NetInput, ...]


def check_recorded(urls: Sequence[str]) -> None:
    """Make sure that sources have an end; none is opened.

    Raises:
        SettingsError: one is live.
    """
    for number, url in enumerate(urls):
        if open_source(_settings(number, url)).is_live:
            raise SettingsError(
                f"{redacted(url)} is live and has no end: record it first (run --save-video), then name the file"
            )


def sample_frames(urls: Sequence[str], count: int, net_height: int, multiple: int) -> Frames:
    """Sample frames evenly over recorded sources, as the pipeline would give them to the network.

    Each source is read to its end, so that no header is believed.

    Args:
        urls: videos, folders of pictures.
        count: how many frames in all; each source gives its share.
        net_height: height of the network's input in pixels.
        multiple: the input's sizes are multiples of this.

    Raises:
        SourceError: a source cannot be read, or all of them have too few different frames.
    """
    preprocess = Preprocess(net_height, multiple)
    found: list[NetInput] = []
    for number, url in enumerate(urls):
        share = (count - len(found)) // (len(urls) - number)
        with open_source(_settings(number, url)) as source:
            source.open()
            found += sampled(source.frames(), share, preprocess)
    found = _unlike(found)
    if len(found) < LEAST_FRAMES:
        raise SourceError(
            f"{' and '.join(urls)}: {len(found)} different frames are too few to quantise with: "
            f"give at least {LEAST_FRAMES}, better a hundred"
        )
    held_back = tuple(found[_HELD_BACK - 1 :: _HELD_BACK])
    del found[_HELD_BACK - 1 :: _HELD_BACK]
    return Frames(tuple(found), held_back)


def _settings(number: int, url: str) -> SourceSettings:
    return SourceSettings(url=url, name=f"source-{number}")


def sampled(frames: Iterable[Frame], count: int, preprocess: Preprocess) -> list[NetInput]:
    """Give the network inputs of about `count` frames at even distances, in one pass, of a source of any length."""
    kept: list[NetInput] = []
    step = 1
    for number, frame in enumerate(each for each in frames if each.picture is not None):
        if number % step:
            continue
        kept.append(preprocess(frame))
        if len(kept) == 2 * count:
            # Every second one stays, and from now on half as many come.
            kept, step = kept[::2], 2 * step
    return list(evenly(kept, count))


def evenly(items: Sequence[ItemT], count: int) -> tuple[ItemT, ...]:
    """Give so many of a sequence's items, at even distances; all where it has no more."""
    if len(items) <= count:
        return tuple(items)
    return tuple(items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int))


def _unlike(inputs: Sequence[NetInput]) -> list[NetInput]:
    """Leave out pictures that were there before: a still camera's, and those of a source that was named twice."""
    by_digest = {hashlib.sha256(each.image.tobytes()).digest(): each for each in reversed(inputs)}
    return list(reversed(by_digest.values()))
