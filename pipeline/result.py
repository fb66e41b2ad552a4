"""What Python users get for each posed frame: message version 1 with NumPy keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
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
        known = {key: message.get(key) for key in cls.__slots__ if key != "people"}
        return cls(**known, people=_people(message["people"]))  # type: ignore[arg-type]  # the protocol says what each key holds


def _people(people: Sequence[Mapping[str, Any]]) -> tuple[FoundPerson, ...]:
    """Read all people of a frame, whose keypoints come in one go: half of what one array a person takes."""
    points = [_MISSING if point is None else point for person in people for point in person["keypoints"]]
    if {*map(len, points)} - {3} or len({len(person["keypoints"]) for person in people}) > 1:
        raise ValueError("keypoints are not three numbers each, as many of each person")
    keypoints = np.fromiter(chain.from_iterable(points), np.float32, 3 * len(points))
    keypoints = keypoints.reshape(len(people), -1, 3) if points else np.empty((len(people), 0, 3), np.float32)
    keypoints.flags.writeable = False
    found = []
    for person, own in zip(people, keypoints, strict=True):
        x, y, width, height = person["bbox"]
        found.append(FoundPerson(person["id"], person["score"], (x, y, width, height), own))
    return tuple(found)
