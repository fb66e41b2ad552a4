"""What every source of frames is: what it tells of itself, and how frames are had from it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from posestream.stages.color import ColorTags
from posestream.stages.items import Frame
from posestream.stages.source.link import Link

__all__ = ["ClosedAtExit", "Source", "SourceInfo"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source tells of itself once it is open."""

    name: str
    #: Size of the upright first picture in pixels.
    width: int
    height: int
    #: Average frame rate; None where unknown and for pictures.
    rate: Fraction | None
    #: How many frames to expect, `start_s` and `max_frames` taken into account; None where unknown.
    frame_count: int | None
    #: How long the whole source lasts; None where unknown and for live sources and pictures.
    duration_s: float | None
    is_live: bool
    #: Seconds per unit of `Frame.pts`.
    time_base: Fraction
    #: The local file, whose sound can be copied; None where there is none.
    path: Path | None
    #: Width of an upright pixel in units of its height; None where unknown, which means square.
    sample_aspect_ratio: Fraction | None
    #: How colours are to be written back as YUV.
    color: ColorTags
    #: The number of its first frame, and how many frames with a picture come before that one: more than 0 where it
    #: goes on after an earlier process.
    first_seq: int = 0
    first_picture: int = 0
    #: True: where frames come faster than they are worked on, the newest one wins.
    keeps_newest: bool = False
    #: A frame that is older, in seconds, is not inferred; None: any age.
    max_age_s: float | None = None
    #: True for a recording whose sound cannot be copied, since it is no local file.
    has_unread_sound: bool = False
    #: For so long, in seconds, a live source may be silent however short the patience with it is: its frames come in
    #: pieces.
    silence_s: float = 0.0


class Source(Protocol):
    """Gives the frames of one video, camera, stream or set of pictures. All calls come from one thread."""

    @property
    def name(self) -> str:
        """Its name, `[a-z0-9_.-]+`."""

    @property
    def is_live(self) -> bool:
        """True where frames come by themselves and cannot wait."""

    @property
    def link(self) -> Link:
        """Its connection: how it is, and what others wish of it; the only part that other threads may use."""

    def open(self) -> SourceInfo:
        """Open it and look at its first picture. A live source that is not there is waited for.

        Raises:
            SourceError: it is missing, unreadable, or has no picture; or it was stopped before it was there.
        """

    def frames(self) -> Iterator[Frame]:
        """Give its frames once, numbered from 0; one that was lost before anybody could see it has no picture.

        Raises:
            SourceError: it ended early or is damaged; raised after all that could be decoded was given.
        """

    def close(self) -> None:
        """Let go of the file or device; may be called more than once."""

    def __enter__(self) -> Self:
        """Give itself, unopened."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


class ClosedAtExit:
    """What sources have in common: a `with` block closes them, and most hold nothing open, nor have a connection."""

    @functools.cached_property
    def link(self) -> Link:
        """Of no consequence where nothing is connected."""
        return Link()

    def __enter__(self) -> Self:
        """Give itself, unopened."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of what is held, if anything; may be called more than once."""
