"""Inferences that failed, kept until the owner's loop can be told without losing what succeeded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from posestream.models.engines.base import Completed
from posestream.models.engines.mailbox import Mailbox
from posestream.models.errors import InferenceError

__all__ = ["Failures"]


class Failures:
    """Raises each failure in a call of its own, after what was done; wakes the owner while there are some."""

    def __init__(self, mailbox: Mailbox[Any]) -> None:
        self._mailbox = mailbox
        self._waiting: deque[InferenceError] = deque()

    def __repr__(self) -> str:
        return f"Failures({len(self._waiting)} to tell)"

    def add(self, failure: InferenceError) -> None:
        """Keep a failure for `hand_over`."""
        self._waiting.append(failure)

    def sorted_out(self, items: Iterable[Completed | InferenceError]) -> tuple[list[Completed], int]:
        """Keep the failures among what came; give the rest, and of how many pictures all of it was."""
        done: list[Completed] = []
        pictures = 0
        for item in items:
            if isinstance(item, InferenceError):
                self.add(item)
                pictures += len(item.tickets)
            else:
                done.append(item)
                pictures += 1
        return done, pictures

    def hand_over(self, done: list[Completed]) -> list[Completed]:
        """Give what is done; where nothing is, raise the oldest failure.

        Raises:
            InferenceError: nothing is done and an inference has failed.
        """
        failure = self._waiting.popleft() if self._waiting and not done else None
        if self._waiting:
            self._mailbox.wake()
        if failure is not None:
            raise failure
        return done
