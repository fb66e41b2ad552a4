"""The items that pass between stages: Frame → NetInput → FieldMaps → Poses, and how a frame ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    # a frame and its picture
    "Frame",
    "FrameKey",
    "Picture",
    "Region",
    # what the network takes and gives
    "FieldMaps",
    "NetInput",
    "Transform",
    # how a frame ended
    "Drop",
    "Person",
    "Poses",
    "Reason",
    "Stage",
    "frozen",
]


ArrayT = TypeVar("ArrayT", bound=NDArray[Any])


def frozen(array: ArrayT) -> ArrayT:
    """Make an array read-only and give it back."""
    array.flags.writeable = False
    return array


class Stage(StrEnum):
    """Where a frame can end without poses."""

    DECODE = "decode"
    PREPROCESS = "preprocess"
    DISPATCH = "dispatch"
    INFER = "infer"
    GROUP = "group"


class Reason(StrEnum):
    """Why a frame ended without poses."""

    UNDECODABLE = "undecodable"
    NEWER = "newer"
    EXPIRED = "expired"
    LATE = "late"
    POISON = "poison"
    STOPPED = "stopped"
    #: Its lane died with it in hand, and a live source cannot give it again. No message tells of it, only the counts.
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an upright source picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


class Picture(Protocol):
    """A decoded picture in whatever form its decoder left it; its sizes are those of the upright picture."""

    @property
    def width(self) -> int:
        """Width of the upright picture in pixels."""

    @property
    def height(self) -> int:
        """Height of the upright picture in pixels."""

    def scaled_bgr(self, width: int, height: int) -> NDArray[np.uint8]:
        """Give the upright picture scaled (bilinear) to height×width×3 BGR, a new C-contiguous array."""

    def bgr(self) -> NDArray[np.uint8]:
        """Give the upright picture at full size as height×width×3 BGR, a new writable array."""

    def cropped(self, region: Region) -> Picture:
        """Give the part inside a region that lies within the picture, its edges even."""


@dataclass(frozen=True, slots=True, order=True)
class FrameKey:
    """Which frame: its source and its number among the frames taken from it (from 0, never reset in a run)."""

    source: str
    seq: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came off its source. `picture` is None where it was lost: not decodable, or too old by then."""

    key: FrameKey
    epoch: int
    #: Presentation time in units of `time_base`, the source's own clock; None for still pictures.
    pts: int | None
    #: Seconds per unit of `pts`.
    time_base: Fraction
    #: When the packet came off the source: seconds of the monotonic clock of this host.
    captured_mono_s: float
    #: The same instant as seconds since 1970 (UTC).
    captured_wall_s: float
    width: int
    height: int
    picture: Picture | None
    #: A still picture's file name, relative to the folder it was found in; None for video.
    name: str | None = None
    #: What of the picture the network sees; None: all of it.
    region: Region | None = None
    #: Why it has no picture, where it has none.
    lost: Reason = Reason.UNDECODABLE

    @property
    def pts_s(self) -> float | None:
        """Presentation time in seconds on the source's own clock; None for still pictures."""
        return None if self.pts is None else float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True)
class Transform:
    """How source pixels become network input pixels: `x_net = (x − left_px) · scale_x`, y likewise.

    Edges are 0 and width, a pixel's centre is at +0.5. What lies right of `width_px · scale_x` or below
    `height_px · scale_y` in the network input is padding.
    """

    scale_x: float
    scale_y: float
    #: Size of what the network sees in pixels of the upright source picture: all of it, or a region.
    width_px: int
    height_px: int
    #: Where that begins.
    left_px: int = 0
    top_px: int = 0


@dataclass(frozen=True, slots=True)
class NetInput:
    """What crosses to inference: uint8 H×W×3 BGR, H and W multiples of the network's stride."""

    key: FrameKey
    image: NDArray[np.uint8]
    transform: Transform


@dataclass(frozen=True, slots=True)
class FieldMaps:
    """The network's output for one frame, float32 or float16, channels first."""

    key: FrameKey
    #: (K + 1)×h×w confidence maps, one per keypoint of the layout, background last.
    heatmaps_chw: NDArray[np.floating]
    #: 2L×h×w part affinity fields; a limb's x and y channels are named by the layout.
    pafs_chw: NDArray[np.floating]
    #: Network input pixels per cell. The centre of cell i is at (i + 0.5) · stride.
    stride: int
    transform: Transform


@dataclass(frozen=True, slots=True)
class Person:
    """One person, in pixels of the upright, full source picture."""

    #: K×3 float32: x, y, score (0…1); all three NaN where the keypoint was not found.
    keypoints: NDArray[np.float32]
    #: 0…1.
    score: float


@dataclass(frozen=True, slots=True)
class Poses:
    """Everybody found in one frame, the best score first."""

    key: FrameKey
    people: tuple[Person, ...]
    #: True where a bound on peaks or people cut something off.
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """A frame that ended without poses, where and why."""

    key: FrameKey
    stage: Stage
    reason: Reason
