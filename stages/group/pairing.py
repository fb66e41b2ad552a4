"""Which connections come first: those of each limb's own pairing of its starts with its ends."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from posestream.stages.group.limbs import Connections
from posestream.stages.group.peaks import Peaks
from posestream.stages.items import frozen

__all__ = ["ALIKE", "LEAST_GAIN", "LEAST_SQUARE", "ROUNDS", "paired_first"]

#: How much of the weight lengths may outweigh: where the fields of two people's limbs overlap, both ways to pair the
#: four ends have nearly all of it.
ALIKE = 0.05
#: An exchange has to gain so much, of 1: less is rounding.
LEAST_GAIN = 1e-3
#: Added to squared lengths, in cells, so that there is something to divide by.
LEAST_SQUARE = 1e-9
#: How often a pairing is looked through for something better; more changes nothing.
ROUNDS = 2

Numbers = NDArray[np.intp]
Some = TypeVar("Some", float, NDArray[np.float64])


def paired_first(peaks: Peaks, connections: Connections) -> Connections:
    """Put the connections of each limb's pairing before all others; both stay the weightiest first.

    A pairing gives each start at most one end and each end at most one start. It begins with the weightiest, then
    (1) one connection gives way to two that use its ends and weigh more together; (2) two exchange their ends, or one
    gives way to another, if that weighs more or nearly as much and lengths speak for it, see `_Pairing`.
    """
    if not len(connections.limb):
        return connections
    pairing = _Pairing(peaks, connections)
    pairing.take_weightiest()
    for _ in range(ROUNDS):
        pairing.make_two_of_one()
        pairing.exchange()
    return pairing.in_order(connections)


def _gain(weight: Some, instead_of: Some, better: Some, worse: Some) -> Some:
    """Give what a change of pairs gains: by weight, and by something that should be more rather than less."""
    share = (weight - instead_of) / (weight + instead_of)
    return share + ALIKE * ((better - worse) / (better + worse + LEAST_SQUARE))


class _Pairing:
    """All limbs' pairings. A node is a limb's candidate; limbs have no nodes in common.

    Lengths decide between pairs that weigh alike. Two for two: two limbs of like length rather than a long one and a
    short one, by the sum of their squares. One for one: the longer, because the field beyond the shorter one would be
    nobody's.
    """

    def __init__(self, peaks: Peaks, connections: Connections) -> None:
        count = len(peaks.part)
        limb, start, end = connections.limb, connections.start, connections.end
        self._start, self._end = limb * count + start, limb * count + end
        self._weight = connections.weight.astype(np.float64)
        x, y = peaks.x_map.astype(np.float64), peaks.y_map.astype(np.float64)
        dx, dy = x[end] - x[start], y[end] - y[start]
        self._square = dx * dx + dy * dy
        nodes = (int(limb.max()) + 1) * count
        #: Each node's connection in the pairing, or −1.
        self._of_start, self._of_end = np.full(nodes, -1), np.full(nodes, -1)
        self._nodes = nodes
        keys = self._start * nodes + self._end
        self._by_key = np.argsort(keys)
        self._keys = keys[self._by_key]

    def take_weightiest(self) -> None:
        """Pair the weightiest first: whatever comes first at both of its ends, again and again."""
        left = np.arange(len(self._start))
        first_of_start, first_of_end = np.empty(self._nodes, np.intp), np.empty(self._nodes, np.intp)
        while len(left):
            start, end = self._start[left], self._end[left]
            # Of several values for one place the last is kept.
            first_of_start[start[::-1]], first_of_end[end[::-1]] = left[::-1], left[::-1]
            taken = left[(first_of_start[start] == left) & (first_of_end[end] == left)]
            self._of_start[self._start[taken]] = self._of_end[self._end[taken]] = taken
            left = left[(self._of_start[start] < 0) & (self._of_end[end] < 0)]

    def make_two_of_one(self) -> None:
        """Let a pair give way to the weightiest two that join its ends to others which are still alone."""
        has_start, has_end = self._of_start[self._start] >= 0, self._of_end[self._end] >= 0
        other_of_start, other_of_end = np.full(self._nodes, -1), np.full(self._nodes, -1)
        to_free, from_free = np.flatnonzero(has_start & ~has_end)[::-1], np.flatnonzero(has_end & ~has_start)[::-1]
        other_of_start[self._start[to_free]] = to_free
        other_of_end[self._end[from_free]] = from_free
        pairs = np.flatnonzero(self._is_paired())
        first, second = other_of_start[self._start[pairs]], other_of_end[self._end[pairs]]
        both = (first >= 0) & (second >= 0)
        for pair, one, other in zip(pairs[both].tolist(), first[both].tolist(), second[both].tolist(), strict=True):
            is_free = self._of_end[self._end[one]] < 0 and self._of_start[self._start[other]] < 0
            if is_free and self._weight[one] + self._weight[other] > self._weight[pair]:
                self._replace((pair,), (one, other))

    def exchange(self) -> None:
        """Take what gains: two for two, one for one, or one where neither end has any."""
        for number in np.flatnonzero(self._gains() > LEAST_GAIN).tolist():
            # What was taken before may have changed it.
            first, second = int(self._of_start[self._start[number]]), int(self._of_end[self._end[number]])
            old = tuple(pair for pair in (first, second) if pair >= 0)
            new: tuple[int, ...] = (number,)
            if len(old) == 2:
                new = (number, int(self._joining(self._start[second], self._end[first])))
            if number not in old and min(new) >= 0 and self._gain_of(new, old) > LEAST_GAIN:
                self._replace(old, new)

    def in_order(self, connections: Connections) -> Connections:
        """Give the connections with the pairings' before the others."""
        is_paired = self._is_paired()
        order = np.concatenate([np.flatnonzero(is_paired), np.flatnonzero(~is_paired)])
        return Connections(
            frozen(connections.limb[order]),
            frozen(connections.start[order]),
            frozen(connections.end[order]),
            frozen(connections.score[order]),
            frozen(connections.weight[order]),
        )

    def _is_paired(self) -> NDArray[np.bool_]:
        return np.asarray(self._of_start[self._start] == np.arange(len(self._start)))

    def _gains(self) -> NDArray[np.float64]:
        """Give what each connection outside of the pairing gains, as it is now."""
        first, second = self._of_start[self._start], self._of_end[self._end]
        weight, square = self._weight, self._square
        gains = np.full(len(first), -1.0)
        gains[(first < 0) & (second < 0)] = 1
        one = np.flatnonzero((first < 0) != (second < 0))
        old = np.maximum(first[one], second[one])
        gains[one] = _gain(weight[one], weight[old], square[one], square[old])
        two = np.flatnonzero((first >= 0) & (second >= 0) & ~self._is_paired())
        other = self._joining(self._start[second[two]], self._end[first[two]])
        two, other = two[other >= 0], other[other >= 0]
        first, second = first[two], second[two]
        old_square, new_square = square[first] + square[second], square[two] + square[other]
        gains[two] = _gain(weight[two] + weight[other], weight[first] + weight[second], old_square, new_square)
        return gains

    def _gain_of(self, new: tuple[int, ...], old: tuple[int, ...]) -> float:
        if not old:
            return 1.0
        weight, instead_of = float(sum(self._weight[[*new]])), float(sum(self._weight[[*old]]))
        square, old_square = float(sum(self._square[[*new]])), float(sum(self._square[[*old]]))
        if len(old) == 1:
            return _gain(weight, instead_of, square, old_square)
        return _gain(weight, instead_of, old_square, square)

    def _joining(self, start: Numbers, end: Numbers) -> Numbers:
        """Give the connections between nodes, −1 where there are none."""
        keys = start * self._nodes + end
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._by_key[place], -1)

    def _replace(self, old: tuple[int, ...], new: tuple[int, ...]) -> None:
        for number in old:
            self._of_start[self._start[number]] = self._of_end[self._end[number]] = -1
        for number in new:
            self._of_start[self._start[number]] = self._of_end[self._end[number]] = number
