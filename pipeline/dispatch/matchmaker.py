"""Which replica is given which of the waiting frames now, and until when the others wait for fuller batches."""

from __future__ import annotations

from posestream.pipeline.dispatch.in_flight import FrameInFlight, ReplicaRecord
from posestream.pipeline.dispatch.replicas import Replicas
from posestream.pipeline.dispatch.waiting import Waiting

__all__ = ["Matchmaker"]


class Matchmaker:
    """Brings waiting frames and replicas with room together, one batch after the other.

    Args:
        waiting: the frames.
        replicas: who may be given them.
        batch_wait_s: how long a frame waits for others that fill its batch.
    """

    def __init__(self, waiting: Waiting, replicas: Replicas, batch_wait_s: float) -> None:
        self._waiting = waiting
        self._replicas = replicas
        self._batch_wait_s = batch_wait_s
        #: When a batch that could be given now is given though it is not full; None: none waits.
        self.due_s: float | None = None

    def __repr__(self) -> str:
        return f"<Matchmaker {self._waiting!r} {self._replicas!r}>"

    def next(self, now_s: float) -> tuple[str, list[FrameInFlight]] | None:
        """Name a replica, the one with the most room first, and what it is given now; None if nobody is given more."""
        self.due_s = None
        for name, replica in self._replicas.by_room:
            frames = self._batch_for(replica, now_s)
            if frames:
                return name, frames
        return None

    def _batch_for(self, replica: ReplicaRecord, now_s: float) -> list[FrameInFlight]:
        """Choose a full batch, or one that has waited long enough, and only as a whole; none if there is none."""
        if replica.free <= 0:
            return []
        for frames in self._waiting.batches(replica.most):
            due_s = min(frame.since_s for frame in frames) + self._batch_wait_s
            if len(frames) == replica.most or frames[0].is_on_trial or now_s >= due_s:
                # Where it has no room for all, it has work in hand; smaller ones that fit must not get ahead for ever.
                # Nor others ahead of a live source's frame for which the engine is not free yet.
                room = replica.free_fresh if any(frame.is_live for frame in frames) else replica.free
                has_room = not replica.held if frames[0].is_on_trial else len(frames) <= room
                return frames if has_room else []
            self.due_s = due_s if self.due_s is None else min(self.due_s, due_s)
        return []
