"""Candidates and connections into people: globally best first, with merging."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posestream.stages.limbs import Connections
from posestream.stages.peaks import Peaks

__all__ = ["assemble"]


def assemble(peaks: Peaks, connections: Connections) -> tuple[NDArray[np.intp], int]:
    """Join candidates into people; give each candidate's person (−1: nobody's) and the number of people.

    Connections are taken the best first, whatever their limb. Two people who share no part become one; a connection
    that would give a person two keypoints of the same part is passed over.
    """
    parts = [1 << part for part in peaks.part.tolist()]
    # At first each candidate is a person of its own, whose parts (one bit each) and members are at its number.
    person_of = list(range(len(parts)))
    members = [[number] for number in person_of]
    for start, end in zip(connections.start.tolist(), connections.end.tolist(), strict=True):
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
    return _renumbered(np.array(person_of, np.intp))


def _renumbered(person_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
    """Number the people of two and more without gaps, and give the others −1."""
    is_person = np.bincount(person_of, minlength=1) > 1
    number = np.where(is_person, np.cumsum(is_person) - 1, -1)
    return number[person_of], int(is_person.sum())
