"""What Python users get for each posed frame: message version 1 with NumPy keypoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FoundPerson", "PosesResult"]

#: What stands for a keypoint that was not found.
_MISSING = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """One person of a frame."""

    #: The tracker's number; None while tracking is off.
    id: int | None
    #: 0…1.
    score: float
    #: Tight box of the keypoints found: x, y, width, height in pixels.
    bbox: tuple[float, float, float, float]
    #: K×3 float32: x, y in pixels of the upright source picture, score 0…1; NaN where not found. Read-only.
    keypoints: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PosesResult:
    """The people of one frame."""

    run: str
    source: str
    n: int
    epoch: int
    seq: int
    #: Seconds on the source's own clock; None for pictures.
    pts: float | None
    #: A picture's file name; None for video.
    name: str | None
    #: Seconds since 1970.
    captured_at: float
    published_at: float
    width: int
    height: int
    model: str
    layout: str
    truncated: bool
    people: tuple[FoundPerson, ...]

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> PosesResult:
        """Read a message of type `poses`; keys that are not known are ignored."""
        people = tuple(_person(person) for person in message["people"])
        known = {key: message.get(key) for key in cls.__slots__ if key != "people"}
        return cls(**known, people=people)  # type: ignore[arg-type]  # the protocol says what each key holds


def _person(person: Mapping[str, Any]) -> FoundPerson:
    keypoints = np.array([_MISSING if point is None else point for point in person["keypoints"]], np.float32)
    keypoints.flags.writeable = False
    x, y, width, height = person["bbox"]
    return FoundPerson(person["id"], person["score"], (x, y, width, height), keypoints)
