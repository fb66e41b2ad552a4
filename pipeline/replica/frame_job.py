"""A frame in a replica's work loop: the views of it that the engine is given, and what comes back for each."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Completed
from posestream.pipeline.wire.messages import Task
from posestream.stages.ensemble import Ensemble, Maps
from posestream.stages.items import FrameKey

__all__ = ["FrameJob"]


class FrameJob:
    """A frame that the engine has, or will have next; views may be completed in any order."""

    __slots__ = ("_begun_s", "_done", "_ends_s", "_ensemble", "_image", "_next", "has_failed", "is_alone", "task")

    def __init__(self, task: Task, image: NDArray[np.uint8], ensemble: Ensemble, *, is_alone: bool = False) -> None:
        self.task = task
        #: True: its views are inferred without those of other frames.
        self.is_alone = is_alone
        #: True once an inference of it has failed: what comes of its others is of no use.
        self.has_failed = False
        self._image = image
        self._ensemble = ensemble
        self._next = 0
        #: When each view was begun, by the performance counter.
        self._begun_s: list[float] = []
        #: When inferences ended, from the first view's beginning on.
        self._ends_s: list[float] = []
        self._done: dict[int, Maps] = {}

    def __repr__(self) -> str:
        return f"<FrameJob {self.task.source} {self.task.seq}: {len(self._done)}/{self._ensemble.count} views done>"

    @property
    def key(self) -> FrameKey:
        """Which frame it is."""
        return FrameKey(self.task.source, self.task.seq)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its picture; frames of one size have views of one size."""
        return self.task.height, self.task.width

    @property
    def has_begun(self) -> bool:
        """True when all of its views were given."""
        return self._next == self._ensemble.count

    @property
    def is_done(self) -> bool:
        """True when all of its views are completed."""
        return len(self._done) == self._ensemble.count

    @property
    def infer_s(self) -> float:
        """Time from the first view's beginning to the end of the last one's inference, in seconds."""
        return max(self._ends_s)

    def next_view(self) -> tuple[int, NDArray[np.uint8]]:
        """Give number and picture of the next view, which begins now."""
        number = self._next
        self._next += 1
        view = self._ensemble.view(self._image, number)
        self._begun_s.append(time.perf_counter())
        return number, view

    def again(self) -> FrameJob:
        """Give the same frame to be done anew, and alone: it failed in company, which need not be its fault."""
        return FrameJob(self.task, self._image, self._ensemble, is_alone=True)

    def add(self, number: int, completed: Completed) -> None:
        """Note what the engine gave for a view."""
        self._ends_s.append(self._begun_s[number] - self._begun_s[0] + completed.elapsed_s)
        self._done[number] = (completed.heatmaps_chw, completed.pafs_chw)

    def maps(self) -> Maps:
        """Give the frame's heatmaps and PAFs, once all views are completed."""
        return self._ensemble.mean(self._image, [self._done[number] for number in range(self._ensemble.count)])
