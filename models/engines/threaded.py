"""An engine around a library that waits: one inference after the other in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Completed
from posestream.models.engines.failures import Failures
from posestream.models.engines.mailbox import Mailbox
from posestream.models.engines.picture import check_batch, check_size
from posestream.models.engines.runtime import brief
from posestream.models.errors import EngineError, InferenceError
from posestream.models.spec import NetworkSpec

__all__ = ["GPU_BATCH", "Maps", "Net", "ThreadedEngine"]

#: Inferences at once: the library works on one, and the next waits beside it so that the thread never does.
_INFERENCES = 2
#: Pictures together on a GPU, where one alone leaves most of it idle. No GPU was at hand to find the best number;
#: `replicas.batch` sets another one.
GPU_BATCH = 4

#: Heatmaps and PAFs of one picture, channels first and owned by the receiver.
Maps = tuple[NDArray[np.floating], NDArray[np.floating]]


class Net(Protocol):
    """A network in a library that waits until an inference is done; used by one thread at a time."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the library raises when an inference fails."""

    @property
    def description(self) -> str:
        """Library, version, device and precision in a few words."""

    def forward(self, images: Sequence[NDArray[np.uint8]]) -> list[Maps]:
        """Give the maps of each of some pictures of one size."""

    def close(self) -> None:
        """Free the network."""


@dataclass(frozen=True, slots=True)
class _Task:
    tickets: tuple[int, ...]
    images: tuple[NDArray[np.uint8], ...]
    started_s: float


class ThreadedEngine:
    """Runs a network with a library that waits, one inference after the other.

    Args:
        spec: the network.
        net: the network in the library.
        device: the device string that chose it.
        requests: how many pictures it takes at once; 0 is enough for two inferences.
        batch: how many pictures an inference is of at most.
    """

    def __init__(self, spec: NetworkSpec, net: Net, device: str, requests: int, batch: int) -> None:
        self._spec = spec
        self._net = net
        self._device = device
        self._capacity = requests or _INFERENCES * batch
        self._batch = min(batch, self._capacity)
        self._running = 0
        #: `prepare` may come from another thread.
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._done: Mailbox[Completed | InferenceError] = Mailbox()
        self._failures = Failures(self._done)
        self._thread = threading.Thread(target=self._work, name=f"engine {device}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        running = f"{self._running}/{self._capacity} running"
        return f"{type(self).__name__}({self._spec.name} on {self._device}, {running})"

    @property
    def device(self) -> str:
        """The device string that chose it."""
        return self._device

    @property
    def description(self) -> str:
        """Library, version, device and precision in a few words."""
        return self._net.description

    @property
    def capacity(self) -> int:
        """How many pictures it takes at once."""
        return self._capacity

    @property
    def at_once(self) -> int:
        """One inference's pictures."""
        return self._batch

    @property
    def batch(self) -> int:
        """How many pictures it takes together."""
        return self._batch

    def prepare(self, height: int, width: int) -> None:
        """Run once on black pictures: libraries plan their memory in the first run of a size."""
        check_size(self._spec, height, width)
        black = np.zeros((height, width, 3), np.uint8)
        try:
            self._forward([black] * self._batch)
        except self._net.errors as error:
            raise EngineError(self._failed(error)) from error

    def submit(self, tickets: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> None:
        """Hand pictures to the thread."""
        check_batch(self._spec, tickets, images, self._batch)
        if self._running + len(images) > self._capacity:
            raise EngineError(f"all {self._capacity} requests are busy: take the completed ones first")
        self._running += len(images)
        self._tasks.put(_Task(tuple(tickets), tuple(images), time.perf_counter()))

    def fileno(self) -> int:
        """Give the descriptor that is readable when something is done."""
        return self._done.fileno()

    def completed(self) -> list[Completed]:
        """Take what is done, in the order of finishing."""
        done, taken = self._failures.sorted_out(self._done.take())
        self._running -= taken
        return self._failures.hand_over(done)

    def close(self) -> None:
        """Wait for what is running and free the network."""
        self._tasks.put(None)
        self._thread.join()
        self._done.close()
        self._net.close()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            for item in self._infer(task):
                self._done.put(item)

    def _infer(self, task: _Task) -> Sequence[Completed | InferenceError]:
        failures: tuple[type[Exception], ...] = (*self._net.errors, EngineError, MemoryError)
        try:
            maps = self._forward(task.images)
        except failures as error:
            failure = InferenceError(task.tickets, self._failed(error))
            failure.__cause__ = error
            return [failure]
        elapsed_s = time.perf_counter() - task.started_s
        return [Completed(ticket, *both, elapsed_s) for ticket, both in zip(task.tickets, maps, strict=True)]

    def _forward(self, images: Sequence[NDArray[np.uint8]]) -> list[Maps]:
        with self._lock:
            return self._net.forward(images)

    def _failed(self, error: Exception) -> str:
        return f"{self._spec.name}: the inference failed: {brief(error)}"
