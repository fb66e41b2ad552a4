"""The frames of which a replica's engine has not all views yet, and which of them go to it together."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

from posestream.pipeline.replica.frame_job import FrameJob

__all__ = ["Upcoming"]


class Upcoming:
    """Frames in the order in which they came; one batch of them at a time is given to the engine, view after view."""

    def __init__(self) -> None:
        #: Frames of which the engine has no view yet.
        self._queue: deque[FrameJob] = deque()
        #: Frames, all of one size, of which the engine has some views; the next ones go to it together too.
        self._batch: list[FrameJob] = []

    def __repr__(self) -> str:
        return f"<Upcoming queue={len(self._queue)} batch={len(self._batch)}>"

    def __len__(self) -> int:
        return len(self._queue) + len(self._batch)

    def add(self, job: FrameJob) -> None:
        """Let a frame wait."""
        self._queue.append(job)

    def add_again(self, jobs: Sequence[FrameJob]) -> None:
        """Let frames that failed together come next."""
        self._queue.extendleft(reversed(jobs))

    def next(self, most: int, room: int) -> list[FrameJob]:
        """Give the frames whose next views go to the engine together; none while it has no room for all of them.

        What has come in several messages goes together too.
        """
        if self._batch:
            return self._batch if len(self._batch) <= room else []
        jobs = list(itertools.islice(self._queue, most))
        if jobs and jobs[0].is_alone:
            jobs = jobs[:1]
        jobs = list(
            itertools.takewhile(lambda job: job.size == jobs[0].size and job.is_alone == jobs[0].is_alone, jobs)
        )
        if len(jobs) > room:
            return []
        for _ in jobs:
            self._queue.popleft()
        self._batch = jobs
        return jobs

    def leave(self, jobs: Sequence[FrameJob]) -> None:
        """Have done with a batch of which the engine has all views, or one of which has failed."""
        if self._batch and self._batch[0] in jobs:
            self._batch = []
