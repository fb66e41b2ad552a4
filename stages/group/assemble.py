"""Candidates and connections into people: best first, with merging."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from posestream.stages.group.limbs import Connections
from posestream.stages.group.peaks import Peaks

__all__ = ["assemble"]

#: Connections taken between two looks at which of the others are still possible.
AT_ONCE = 1024


def assemble(peaks: Peaks, connections: Connections) -> tuple[NDArray[np.intp], int]:
    """Join candidates into people; give each candidate's person (−1: nobody's) and the number of people.

    Connections are taken in their order, whatever their limb. Two people who share no part become one; a connection
    that would give a person two keypoints of the same part is passed over.
    """
    # At first each candidate is a person of its own, whose parts (one bit each) and members are at its number.
    parts = (1 << peaks.part).tolist()
    person_of = list(range(len(parts)))
    members = [[number] for number in person_of]
    starts, ends = connections.start, connections.end
    while len(starts):
        pairs = zip(starts[:AT_ONCE].tolist(), ends[:AT_ONCE].tolist(), strict=True)
        _join(pairs, parts, person_of, members)
        starts, ends = _possible(starts[AT_ONCE:], ends[AT_ONCE:], parts, person_of)
    return _renumbered(np.array(person_of, np.intp))


def _join(pairs: Iterable[tuple[int, int]], parts: list[int], person_of: list[int], members: list[list[int]]) -> None:
    """Take so many connections, in their order."""
    for start, end in pairs:
        first, second = person_of[start], person_of[end]
        if parts[first] & parts[second]:  # also where both are one person already
            continue
        # Whoever has more members takes the others in, so that a candidate changes its person few times.
        if len(members[first]) < len(members[second]):
            first, second = second, first
        parts[first] |= parts[second]
        for member in members[second]:
            person_of[member] = first
        members[first] += members[second]
        members[second] = []


def _possible(
    starts: NDArray[np.intp], ends: NDArray[np.intp], parts: list[int], person_of: list[int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Leave out connections that cannot be taken any more: in a crowd nearly all of the later ones."""
    if not len(starts):
        return starts, ends
    parts_of = np.array(parts, np.int64)[np.array(person_of, np.intp)]
    kept = (parts_of[starts] & parts_of[ends]) == 0
    return starts[kept], ends[kept]


def _renumbered(person_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
    """Number the people of two and more without gaps, and give the others −1."""
    is_person = np.bincount(person_of, minlength=1) > 1
    number = np.where(is_person, np.cumsum(is_person) - 1, -1)
    return number[person_of], int(is_person.sum())
