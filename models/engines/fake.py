"""An engine without a network, for tests: it finishes at once or when it is told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Completed
from posestream.models.engines.failures import Failures
from posestream.models.engines.mailbox import Mailbox
from posestream.models.engines.picture import check_batch, check_size
from posestream.models.errors import EngineError, InferenceError
from posestream.models.spec import NetworkSpec

__all__ = ["FakeEngine", "Fields", "empty_fields"]

#: Gives heatmaps and PAFs (both channels first) for a picture.
Fields = Callable[[NDArray[np.uint8]], tuple[NDArray[np.floating], NDArray[np.floating]]]


def empty_fields(spec: NetworkSpec) -> Fields:
    """Give a function that finds nobody: zero maps of the network's channels and size."""

    def fields(image: NDArray[np.uint8]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        height, width = image.shape[0] // spec.stride, image.shape[1] // spec.stride
        heatmaps = np.zeros((spec.heatmaps.count, height, width), np.float32)
        return heatmaps, np.zeros((spec.pafs.count, height, width), np.float32)

    return fields


class FakeEngine:
    """Behaves as engines do, with a function in the place of the network.

    Args:
        spec: the network it pretends to run.
        fields: what it computes; by default it finds nobody.
        capacity: how many pictures at once.
        batch: how many of them together in one inference.
        is_manual: True if inferences end only when `finish` or `fail` is called.
        elapsed_s: what every inference is said to have taken.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        fields: Fields | None = None,
        capacity: int = 2,
        batch: int = 1,
        is_manual: bool = False,
        elapsed_s: float = 0.01,
    ) -> None:
        self._spec = spec
        self._fields = fields or empty_fields(spec)
        self._capacity = capacity
        self._batch = batch
        self._is_manual = is_manual
        self._elapsed_s = elapsed_s
        self._waiting: deque[tuple[tuple[int, ...], tuple[NDArray[np.uint8], ...]]] = deque()
        self._untaken = 0
        self._done: Mailbox[Completed | InferenceError] = Mailbox()
        self._failures = Failures(self._done)
        #: The sizes that `prepare` was called with, height first.
        self.prepared: list[tuple[int, int]] = []
        #: The tickets of each inference that was begun.
        self.begun: list[tuple[int, ...]] = []
        self.is_closed = False

    def __repr__(self) -> str:
        return f"FakeEngine({self._spec.name}, {len(self.running)} running, {self._untaken} done)"

    @property
    def device(self) -> str:
        """The device string `fake`."""
        return "fake"

    @property
    def description(self) -> str:
        """Says that it is none."""
        return "fake engine"

    @property
    def capacity(self) -> int:
        """How many pictures it takes at once."""
        return self._capacity

    @property
    def at_once(self) -> int:
        """All of them."""
        return self._capacity

    @property
    def batch(self) -> int:
        """How many pictures it takes together."""
        return self._batch

    @property
    def running(self) -> list[int]:
        """The tickets that wait to be finished, in the order of submission."""
        return [ticket for tickets, _ in self._waiting for ticket in tickets]

    def prepare(self, height: int, width: int) -> None:
        """Note the size."""
        check_size(self._spec, height, width)
        self.prepared.append((height, width))

    def submit(self, tickets: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> None:
        """Take pictures; they are done at once unless the engine is manual."""
        check_batch(self._spec, tickets, images, self._batch)
        if len(self.running) + self._untaken + len(images) > self._capacity:
            raise EngineError(f"all {self._capacity} requests are busy: take the completed ones first")
        self._waiting.append((tuple(tickets), tuple(images)))
        self.begun.append(tuple(tickets))
        if not self._is_manual:
            self.finish()

    def finish(self, count: int = 1) -> None:
        """Finish the oldest inferences; from any thread."""
        for _ in range(count):
            for ticket, image in zip(*self._waiting.popleft(), strict=True):
                heatmaps, pafs = self._fields(image)
                self._untaken += 1
                self._done.put(Completed(ticket, heatmaps, pafs, self._elapsed_s))

    def fail(self, message: str = "the inference failed") -> None:
        """Let the oldest inference fail; from any thread."""
        tickets, _ = self._waiting.popleft()
        self._untaken += len(tickets)
        self._done.put(InferenceError(tickets, message))

    def fileno(self) -> int:
        """Give the descriptor that is readable when something is done."""
        return self._done.fileno()

    def completed(self) -> list[Completed]:
        """Take what is done; failures come after, one a call."""
        done, taken = self._failures.sorted_out(self._done.take())
        self._untaken -= taken
        return self._failures.hand_over(done)

    def close(self) -> None:
        """Free the descriptor."""
        self.is_closed = True
        self._done.close()
