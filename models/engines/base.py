"""The engine interface: pictures go in without waiting, field maps come out when they are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Completed", "Engine"]


@dataclass(frozen=True, slots=True)
class Completed:
    """What an inference gave for one picture. The arrays belong to the receiver."""

    #: The number that was given to `submit`.
    ticket: int
    #: (K + 1)×h×w, float32 or float16.
    heatmaps_chw: NDArray[np.floating]
    #: 2L×h×w, float32 or float16.
    pafs_chw: NDArray[np.floating]
    #: Time from `submit` to the end of the inference, in seconds; the wait for a free core is part of it.
    elapsed_s: float


class Engine(Protocol):
    """Runs one network on one device. `submit` and `completed` are called from one thread."""

    @property
    def device(self) -> str:
        """The device string that chose it, such as `cpu`."""

    @property
    def description(self) -> str:
        """Engine, version, processor and precision in a few words, for people."""

    @property
    def capacity(self) -> int:
        """How many pictures it has at once, in one inference or in several; one more makes `submit` an error.

        It may grow, once, when the first shape is compiled: read it again after `prepare` or the first `submit`.
        """

    @property
    def at_once(self) -> int:
        """How many of those it truly works on at once; the others wait inside, so that it never waits for its owner.

        It may grow as `capacity` does.
        """

    @property
    def batch(self) -> int:
        """How many pictures of one size it likes to be given together: from 1, where that gains nothing, to `capacity`.

        Fewer are welcome at any time; more make `submit` an error. It never changes.
        """

    def prepare(self, height: int, width: int) -> None:
        """Compile for pictures of this size now, so that the first `submit` need not; waits; from any thread.

        One call is for every number of them from 1 to `batch`.

        Raises:
            EngineError: the engine refused the size.
        """

    def submit(self, tickets: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> None:
        """Begin one inference of 1 to `batch` pictures, all of one size, with a ticket each.

        A picture is uint8 H×W×3 BGR, H and W multiples of the stride, and left unchanged until it is done. Each has a
        `Completed` of its own.

        Raises:
            EngineError: there is not so much room left, or the engine refused the pictures; none was begun.
        """

    def fileno(self) -> int:
        """Give a file descriptor that is readable while `completed` has something to give.

        Some engines cannot signal a failed inference, so call `completed` at every heartbeat too.
        """

    def completed(self) -> list[Completed]:
        """Take what has been finished since the last call, in the order of finishing; never waits.

        Raises:
            InferenceError: an inference failed; it names the tickets of all its pictures, whose room is free again.
                What was finished comes first, so nothing is lost; the failure is raised by the call after.
        """

    def close(self) -> None:
        """Wait for what is running and free the engine."""
