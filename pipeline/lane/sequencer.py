"""Puts the ended frames of one source back into order, without guessing: every frame is answered for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Sequencer"]

ItemT = TypeVar("ItemT")


class Sequencer(Generic[ItemT]):
    """Takes items by seq in any order and gives them back from 0 upwards without a gap."""

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._early: dict[int, ItemT] = {}

    def __repr__(self) -> str:
        return f"<Sequencer next={self._next} early={sorted(self._early)}>"

    @property
    def is_empty(self) -> bool:
        """True if no item waits for an earlier one."""
        return not self._early

    def push(self, seq: int, item: ItemT) -> Iterator[ItemT]:
        """Take an item and yield those whose turn has come; one that was taken before is ignored."""
        if seq >= self._next:
            self._early.setdefault(seq, item)
        while self._next in self._early:
            yield self._early.pop(self._next)
            self._next += 1
