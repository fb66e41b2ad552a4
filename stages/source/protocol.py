"""What every source of frames is: its settings, what it tells of itself, and how frames are had from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from posestream.stages.color import ColorTags
from posestream.stages.errors import SettingsError
from posestream.stages.items import Frame
from posestream.stages.redact import redacted

__all__ = ["ClosedAtExit", "Source", "SourceInfo", "SourceSettings"]


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Which source to read, and which part of it.

    Raises:
        SettingsError: the part makes no sense.
    """

    #: A file, folder, glob pattern, URL, camera number or "/dev/videoN".
    url: str
    #: `[a-z0-9_.-]+`; empty: derived from `url`.
    name: str = ""
    #: Seconds from the source's beginning that are skipped (recorded video only).
    start_s: float = 0.0
    #: Stop after so many frames; None: go on to the end.
    max_frames: int | None = None

    def __repr__(self) -> str:
        """Tell it without what may be secret in its address."""
        limits = f"start_s={self.start_s!r}, max_frames={self.max_frames!r}"
        return f"SourceSettings(url={redacted(self.url)!r}, name={self.name!r}, {limits})"

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < math.inf:
            raise SettingsError(f"start_s = {self.start_s:g} of source {redacted(self.url)} is not 0 or more seconds")
        if self.max_frames is not None and self.max_frames < 1:
            raise SettingsError(f"max_frames = {self.max_frames} of source {redacted(self.url)} is not at least 1")


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


class Source(Protocol):
    """Gives the frames of one video, camera, stream or set of pictures. All calls come from one thread."""

    @property
    def name(self) -> str:
        """Its name, `[a-z0-9_.-]+`."""

    @property
    def is_live(self) -> bool:
        """True where frames come by themselves and cannot wait."""

    def open(self) -> SourceInfo:
        """Open it and look at its first picture.

        Raises:
            SourceError: it is missing, unreadable, or has no picture.
        """

    def frames(self) -> Iterator[Frame]:
        """Give its frames once, numbered from 0 in epoch 0; an undecodable one has no picture.

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
    """What sources have in common: a `with` block closes them, and most hold nothing open."""

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
