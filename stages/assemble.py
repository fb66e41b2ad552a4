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
    bits = [1 << part for part in peaks.part.tolist()]
    people: list[tuple[int, list[int]]] = []
    # A candidate's person is `people[person_of[candidate]]`: the parts it has, one bit each, and its candidates.
    person_of = [-1] * len(bits)
    for start, end in zip(connections.start.tolist(), connections.end.tolist(), strict=True):
        first, second = person_of[start], person_of[end]
        if first == second and first >= 0:
            continue
        if first < 0 and second < 0:
            person_of[start] = person_of[end] = len(people)
            people.append((bits[start] | bits[end], [start, end]))
            continue
        first_parts, first_members = people[first] if first >= 0 else (bits[start], [start])
        second_parts, second_members = people[second] if second >= 0 else (bits[end], [end])
        if first_parts & second_parts:
            continue
        # Whoever has more members takes the others in, so that a candidate changes its person few times.
        if first < 0 or (second >= 0 and len(second_members) > len(first_members)):
            first, first_members, second_members = second, second_members, first_members
        for member in second_members:
            person_of[member] = first
        first_members += second_members
        people[first] = (first_parts | second_parts, first_members)
    return _renumbered(np.array(person_of, np.intp))


def _renumbered(person_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
    """Number those people who were not taken in by others without gaps."""
    is_used = np.zeros(len(person_of) + 1, np.intp)
    is_used[person_of[person_of >= 0]] = 1
    renumbered = np.where(person_of >= 0, (np.cumsum(is_used) - 1)[person_of], -1)
    return renumbered, int(is_used.sum())
