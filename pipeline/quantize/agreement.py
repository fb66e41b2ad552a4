"""How far two networks see the same people: keypoints of the one that the other finds at the same place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posestream.stages.items import Person, Poses

__all__ = ["Agreement", "agreement"]

#: A keypoint is found where it is at most this part of the person's height or width away, the larger of them.
_NEAR = 0.1
#: Of a person who is smaller than this, in source pixels, nearness is that of one of this size.
_LEAST_SIZE_PX = 40.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one network (int8) finds of what another one (float) finds."""

    #: Keypoints that the float network finds.
    keypoints: int
    #: Those of them that the int8 network finds too, at the same person's same place.
    found: int
    #: Keypoints that the int8 network finds in all.
    others: int
    #: Root mean square of the distance between keypoints that both find, in source pixels.
    rms_px: float
    #: The same as pixels of the network's input.
    rms_net: float

    @property
    def recall(self) -> float:
        """Which part of the float network's keypoints is found."""
        return self.found / self.keypoints if self.keypoints else 0.0

    @property
    def precision(self) -> float:
        """Which part of the int8 network's keypoints the float network finds too."""
        return self.found / self.others if self.others else 0.0


def agreement(pairs: Iterable[tuple[Poses, Poses, float]]) -> Agreement:
    """Compare two networks' people, frame by frame.

    Args:
        pairs: for each frame the float network's people, the int8 network's, and network input pixels per source pixel.
    """
    keypoints = found = others = 0
    squares_px = squares_net = 0.0
    for truth, got, scale in pairs:
        keypoints += sum(_count(person) for person in truth.people)
        others += sum(_count(person) for person in got.people)
        for distances_px in _matched(truth, got):
            found += len(distances_px)
            square = float(np.square(distances_px).sum())
            squares_px += square
            squares_net += square * scale**2
    mean = max(found, 1)
    return Agreement(keypoints, found, others, (squares_px / mean) ** 0.5, (squares_net / mean) ** 0.5)


def _count(person: Person) -> int:
    return int(np.isfinite(person.keypoints[:, 0]).sum())


def _matched(truth: Poses, got: Poses) -> list[NDArray[np.floating]]:
    """Pair people who share most keypoints, each once; give the distances of the shared keypoints of each pair."""
    near = [[_near(person, other) for other in got.people] for person in truth.people]
    order = sorted(
        ((len(distances), row, column) for row, line in enumerate(near) for column, distances in enumerate(line)),
        key=lambda each: (-each[0], each[1], each[2]),
    )
    rows: set[int] = set()
    columns: set[int] = set()
    pairs = []
    for shared, row, column in order:
        if shared and row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append(near[row][column])
    return pairs


def _near(person: Person, other: Person) -> NDArray[np.floating]:
    """Give the distances of a person's keypoints that another one has at the same place, in source pixels."""
    places = person.keypoints[:, :2].astype(np.float64)
    is_there = np.isfinite(places[:, 0])
    if not is_there.any():
        return np.empty(0)
    size_px = max(float(np.ptp(places[is_there], axis=0).max()), _LEAST_SIZE_PX)
    distances = np.linalg.norm(places - other.keypoints[:, :2], axis=1)
    near: NDArray[np.floating] = distances[np.isfinite(distances) & (distances <= _NEAR * size_px)]
    return near
