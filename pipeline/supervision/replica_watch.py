"""Watches the replicas: starts those that died again, ends those that hang, and tells when the last worker has gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from posestream.models.errors import EngineError, ModelError
from posestream.pipeline.dispatch.in_flight import ReplicaState
from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.errors import PipelineError, ReplicaError
from posestream.pipeline.supervision.handles import ReplicaHandle, is_killed
from posestream.pipeline.supervision.patience import Patience
from posestream.pipeline.supervision.slot import Slot

__all__ = ["ReplicaWatch"]

_log = logging.getLogger(__name__)


class ReplicaWatch:
    """Compares the replicas with what the dispatcher hears of them.

    Args:
        slots: the places of the head's own replicas; none where workers do all the work.
        dispatch: the dispatcher's loop.
        patience: how long one that was given up may take to come back.
    """

    def __init__(self, slots: Sequence[Slot[ReplicaHandle]], dispatch: DispatchLoop, patience: Patience) -> None:
        self._slots = slots
        self._dispatch = dispatch
        self._patience = patience
        #: True while workers are there, where they do all the work.
        self._had_workers = False
        #: Since when a replica that lives is none of the dispatcher's.
        self._absent_since_s: dict[str, float] = {}
        #: Those of them that were told to end.
        self._given_up: set[str] = set()
        #: True once one was left that still loads, and keeps its sockets.
        self.has_left = False

    def __repr__(self) -> str:
        return f"<ReplicaWatch absent={sorted(self._absent_since_s)} given_up={sorted(self._given_up)}>"

    @property
    def has_begun(self) -> bool:
        """True once a replica can work, or could: not while nobody is there, or all of them load for the first time."""
        were_ready = any(slot.part.description or slot.restarts or slot.is_waiting for slot in self._slots)
        return were_ready or any(view.credits for view in self._dispatch.views)

    def watch(self, now_s: float, *, is_stopping: bool) -> None:
        """Notice what failed, and see to it: what is in flight needs a replica while a stop drains too."""
        for slot in self._slots:
            self._watch(slot, now_s)
        if not (self._slots or is_stopping):
            self._watch_workers()

    def end(self, deadline_s: float) -> bool:
        """End every replica once all frames have ended; False if one is left that should have heard.

        What one still works on was given up, and nobody wants one that still loads, which may take minutes: they are
        killed, and a thread that loads is left to itself.
        """
        replicas = [slot.part for slot in self._slots]
        loading = [replica for replica in replicas if replica.is_alive and not replica.description]
        busy = {view.name for view in self._dispatch.views if view.state is ReplicaState.BUSY}
        for replica in replicas:
            (replica.kill if replica in loading or replica.name in busy else replica.stop)()
        threads = [replica for replica in loading if not replica.is_killable]
        have_ended = [replica.join(deadline_s) or is_killed(replica) for replica in replicas if replica not in threads]
        left = [replica for replica in threads if not replica.join(time.monotonic() + self._patience.load_s)]
        for replica in left:
            _log.info("%s still loads; it is not waited for", replica.name)
        self.has_left = bool(left)
        return all(have_ended)

    def _watch_workers(self) -> None:
        """Tell once when a head without replicas of its own has lost the last worker: it does nothing meanwhile."""
        is_alone = not self._dispatch.replicas
        if is_alone and self._had_workers:
            _log.warning("the last worker has gone; waiting for workers again")
        self._had_workers = not is_alone

    def _watch(self, slot: Slot[ReplicaHandle], now_s: float) -> None:
        replica = slot.part
        if slot.is_waiting or slot.is_exhausted:
            slot.go_on(now_s)
        elif replica.is_alive:
            self._end_if_hung(slot, now_s)
        else:
            replica.join(now_s)  # lets go of its pipe
            self._dispatch.lose(replica.name)
            error = replica.error or PipelineError(f"{replica.name} left")
            if isinstance(error, EngineError | ModelError):
                # It would not load any better the next time.
                slot.give_up(error)
            else:
                slot.fail(now_s, error)

    def _end_if_hung(self, slot: Slot[ReplicaHandle], now_s: float) -> None:
        """Kill a replica that the dispatcher has given up and that does not come back."""
        replica = slot.part
        if not self._dispatch.has_met(replica.name) or replica.name in self._dispatch.replicas:
            self._absent_since_s.pop(replica.name, None)
            self._given_up.discard(replica.name)
        elif now_s - self._absent_since_s.setdefault(replica.name, now_s) > self._patience.come_back_s:
            replica.kill()
            if replica.name not in self._given_up:
                self._given_up.add(replica.name)
                end = "it is killed" if replica.is_killable else "it is to leave as soon as its engine lets it"
                _log.warning("%s hangs; %s", replica.name, end)
            if not replica.is_killable and now_s - self._absent_since_s[replica.name] > self._patience.leave_s:
                # No other one can have its place while its threads are in there; others have its frames.
                why = ReplicaError(f"{replica.name} hangs{f': {replica.error}' if replica.error else ''}")
                _log.warning("%s; it is given up", why)
                slot.give_up(why)
