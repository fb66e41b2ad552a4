"""Candidates and connections into people: globally best first, with merging."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posestream.stages.limbs import Connections
from posestream.stages.peaks import Peaks

__all__ = ["assemble"]


def assemble(peaks: Peaks, connections: Connections) -> list[NDArray[np.intp]]:
    """Join candidates into people, each as the numbers of its candidates in ascending order.

    Connections are taken the best first, whatever their limb. One that would give a person two keypoints of the same
    part is passed over; two people who share no part become one.
    """
    bit = [1 << part for part in peaks.part.tolist()]
    person_of = list(range(len(bit)))
    parts = list(bit)
    members = [[number] for number in range(len(bit))]
    for start, end in zip(connections.start.tolist(), connections.end.tolist(), strict=True):
        first, second = person_of[start], person_of[end]
        if first == second or parts[first] & parts[second]:
            continue
        if len(members[first]) < len(members[second]):
            first, second = second, first
        parts[first] |= parts[second]
        for number in members[second]:
            person_of[number] = first
        members[first] += members[second]
        members[second] = []
    return [np.array(sorted(people), np.intp) for people in members if len(people) > 1]
