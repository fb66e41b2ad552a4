"""Who gets which frame, what is dropped and what is handed out again: events and a time in, actions out.

The class has no socket, thread or clock of its own, so that thousands of random histories can drive it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from posestream.pipeline.dispatch.actions import Action, Assign, End, Finish, RecallFrame
from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.dispatch.endings import Endings
from posestream.pipeline.dispatch.in_flight import FrameInFlight, Phase, ReplicaView, Size, SourceRecord
from posestream.pipeline.dispatch.matchmaker import Matchmaker
from posestream.pipeline.dispatch.replicas import Replicas
from posestream.pipeline.dispatch.settings import DispatcherSettings
from posestream.pipeline.dispatch.waiting import Waiting
from posestream.stages.items import Drop, FrameKey, Reason, Stage

__all__ = ["Dispatcher", "DispatcherSettings"]


class Dispatcher:
    """Hands waiting frames to free replicas, fairly between sources, and ends every frame exactly once.

    Each method is one event; `now_s` is the head's monotonic clock. The actions that come back are to be done in
    their order.
    """

    def __init__(self, settings: DispatcherSettings) -> None:
        self._settings = settings
        self._sources: dict[str, SourceRecord] = {}
        self._replicas = Replicas()
        self._waiting = Waiting()
        self._matchmaker = Matchmaker(self._waiting, self._replicas, settings.batch_wait_s)
        self.redelivered = 0
        #: Results of frames that had been handed out again.
        self.recovered = 0
        self.ignored = 0
        #: When a stopped run waits for live sources no more; None: it is not stopped.
        self._live_until_s: float | None = None

    def __repr__(self) -> str:
        waiting = sum(frame.is_waiting for source in self._sources.values() for frame in source.frames.values())
        return f"<Dispatcher sources={len(self._sources)} waiting={waiting} {self._replicas!r}>"

    @property
    def due_s(self) -> float | None:
        """When to call `tick`, since frames wait until then for a fuller batch; None: nothing does."""
        return self._matchmaker.due_s

    @property
    def counts(self) -> dict[str, FrameCounts]:
        """A copy of every source's counts."""
        return {name: source.counts.copy() for name, source in self._sources.items()}

    def next_seq(self, name: str) -> int:
        """Give the number of the next frame of a source."""
        return self._sources[name].next_seq if name in self._sources else 0

    def waiting(self, name: str) -> int:
        """Count the frames of a source that wait for a replica."""
        return self._sources[name].waiting if name in self._sources else 0

    @property
    def views(self) -> list[ReplicaView]:
        """How each replica is."""
        return self._replicas.views

    @property
    def credits(self) -> int:
        """Frames that all replicas together will hold at once."""
        return self._replicas.credits

    @property
    def replicas(self) -> tuple[str, ...]:
        """The replicas that are there, in the order in which they came."""
        return self._replicas.names

    # lanes

    def lane_joined(
        self, name: str, *, is_live: bool, max_age_s: float | None, first_seq: int = 0, keeps_newest: bool | None = None
    ) -> list[Action]:
        """Begin to take frames from a source, or go on from `first_seq` after its lane died.

        What was in flight is forgotten: the lane that held it is gone. Frames from `first_seq` on that had ended are
        done again, since an output did not hold them yet. `keeps_newest`: only the newest is to wait; None: where it
        is live.
        """
        if name not in self._sources:
            newest = is_live if keeps_newest is None else keeps_newest
            self._sources[name] = SourceRecord(
                is_live, newest, max_age_s, next_seq=first_seq, endings=Endings(first_seq)
            )
        else:
            self._sources[name].go_back(first_seq)
        return []

    def expects(self, key: FrameKey) -> bool:
        """Tell whether a frame is the next of its source, or one that was recalled."""
        return key.source in self._sources and self._sources[key.source].expects(key.seq)

    def frame_taken(self, key: FrameKey, captured_s: float, now_s: float, size: Size = (0, 0)) -> list[Action]:
        """Queue a frame, or one that comes again after a recall; `size` is that of its network input."""
        if not self.expects(key):
            return self._ignore()
        source = self._sources[key.source]
        if key.seq in source.frames:
            return self._comes_again(source.frames[key.seq], now_s)
        frame = FrameInFlight(key, captured_s, size, now_s, source.is_live)
        source.take(frame)
        if self._is_unwanted(frame):
            return self._drop(key, Stage.DISPATCH, Reason.STOPPED)
        self._waiting.add(frame)
        return self._keep_newest(key.source) + self._hand_out(now_s)

    def frame_dropped(self, drop: Drop) -> list[Action]:
        """Count a frame that its lane took but could not prepare."""
        source = self._sources.get(drop.key.source)
        if source is None or not self.expects(drop.key) or drop.key.seq in source.frames:
            return self._ignore()
        source.take_dropped(drop)
        return [End(drop.key, drop), *self._finish(drop.key.source)]

    def settle(self, name: str) -> None:
        """Keep a source's counts only: its lane has ended for good, and sends no frame again."""
        if name in self._sources:
            self._sources[name].settle()

    def forget(self, name: str) -> None:
        """Keep nothing of a source that has ended for good; one with frames in flight stays until those have ended."""
        if name in self._sources and not self._sources[name].frames:
            del self._sources[name]

    def lane_ended(self, name: str) -> list[Action]:
        """Expect no more frames from a source."""
        source = self._sources.get(name)
        if source is None:
            return self._ignore()
        source.has_ended = True
        return self._finish(name)

    # replicas

    def replica_joined(self, name: str, credit: int, now_s: float, batch: int = 1, fresh: int = 0) -> list[Action]:
        """Meet a replica; `credit` frames are what it will hold at once, 0 while it loads.

        It likes to be given `batch` frames of one size together. `fresh` of those that it holds may be frames of live
        sources; 0: all of them.
        """
        # Loading anew, it is another life under the same name: nobody has what the former one held.
        actions = self.replica_lost(name, now_s) if credit == 0 and name in self._replicas else []
        return actions + self.replica_heard(name, now_s, is_loading=False, credit=credit, batch=batch, fresh=fresh)

    def replica_heard(
        self,
        name: str,
        now_s: float,
        *,
        is_loading: bool,
        credit: int,
        batch: int = 1,
        fresh: int = 0,
        held: Collection[FrameKey] | None = None,
    ) -> list[Action]:
        """Note a replica's heartbeat; one that was given up (the whole process may have slept) is back by it.

        `held` is what it says to have: what it should have and has not is handed out again, and it is not to blame.
        """
        self._replicas.hear(name, now_s, is_loading=is_loading, credit=credit, batch=batch, fresh=fresh)
        missing = []
        if held is not None:
            missing = self._replicas.missing(name, held, now_s - self._settings.way_timeout_s)
        return [*self._recalled(missing), *self._hand_out(now_s)]

    def replica_lost(self, name: str, now_s: float) -> list[Action]:
        """Take back what a replica holds: it died, hung or left."""
        if name not in self._replicas:
            return self._ignore()
        actions = [action for frame in self._replicas.remove(name) for action in self._lose(frame)]
        return actions + self._hand_out(now_s)

    def replica_left(self, name: str, now_s: float) -> list[Action]:
        """Take back what a replica holds, without blaming the frames."""
        if name not in self._replicas:
            return self._ignore()
        return [*self._recalled(self._replicas.remove(name)), *self._hand_out(now_s)]

    def result(self, name: str, key: FrameKey, infer_s: float, now_s: float) -> list[Action]:
        """End a frame whose people were found; a result that nobody waits for is ignored."""
        frame = self._replicas.give_back(name, key, now_s)
        if frame is None:
            return self._ignore() + self._hand_out(now_s)
        self.recovered += frame.was_recalled
        source = self._sources[key.source]
        age_s = now_s - frame.captured_s
        if source.max_age_s is not None and age_s > source.max_age_s + infer_s:
            ended = self._drop(key, Stage.INFER, Reason.LATE)
        else:
            ended = self._end(key, None)
        return ended + self._hand_out(now_s)

    def held_s(self, name: str, key: FrameKey, now_s: float) -> float | None:
        """Give for how long a replica has had a frame that it has not given back; None if there is none."""
        return self._replicas.held_s(name, key, now_s)

    def failed(self, name: str, key: FrameKey, now_s: float) -> list[Action]:
        """Try a frame again that a replica could not do, or drop it as poison."""
        frame = self._replicas.give_back(name, key, now_s)
        if frame is None:
            return self._ignore() + self._hand_out(now_s)
        return self._lose(frame) + self._hand_out(now_s)

    # time and the end

    def tick(self, now_s: float) -> list[Action]:
        """Find replicas that fell silent, and hand out what waits."""
        patience = self._settings
        silent = self._replicas.silent(now_s, patience.heartbeat_timeout_s, patience.loading_timeout_s)
        # All of them first: none is to be given what another one held.
        lost = [frame for name in silent for frame in self._replicas.remove(name)]
        actions = [action for frame in lost for action in self._lose(frame)]
        if self._live_until_s is not None and now_s >= self._live_until_s:
            actions += self.abandon(name for name, source in self._sources.items() if source.is_live)
        return actions + self._hand_out(now_s)

    def wind_down(self, now_s: float) -> list[Action]:
        """Begin on no more frames of live sources: the run is stopped, and only recorded sources are finished.

        What engines have of them is waited for a little longer.
        """
        if self._live_until_s is not None:
            return []
        self._live_until_s = now_s + self._settings.live_stop_s
        unwanted = [frame for source in self._sources.values() for frame in source.frames.values()]
        unwanted = [frame for frame in unwanted if frame.phase is not Phase.HELD and self._is_unwanted(frame)]
        dropped = [action for frame in unwanted for action in self._drop(frame.key, Stage.DISPATCH, Reason.STOPPED)]
        return dropped + self._hand_out(now_s)

    def abandon(self, source_names: Iterable[str]) -> list[Action]:
        """Drop everything in flight of these sources as stopped: nobody is left who could do it."""
        actions: list[Action] = []
        for name in source_names:
            for seq in sorted(self._sources[name].frames):
                actions += self._drop(FrameKey(name, seq), Stage.DISPATCH, Reason.STOPPED)
        return actions

    # inside

    def _ignore(self) -> list[Action]:
        self.ignored += 1
        return []

    def _comes_again(self, frame: FrameInFlight, now_s: float) -> list[Action]:
        frame.phase = Phase.WAITING
        frame.since_s = now_s
        self._waiting.add_again(frame)
        return self._keep_newest(frame.key.source) + self._hand_out(now_s)

    def _keep_newest(self, name: str) -> list[Action]:
        """Drop what waits of a live source but the newest, those that came again included."""
        source = self._sources[name]
        if not source.keeps_newest:
            return []
        older = source.outdated()
        return [action for frame in older for action in self._drop(frame.key, Stage.DISPATCH, Reason.NEWER)]

    def _lose(self, frame: FrameInFlight) -> list[Action]:
        frame.losses += 1
        if frame.losses >= self._settings.poison_after:
            return self._drop(frame.key, Stage.INFER, Reason.POISON)
        return self._recall(frame)

    def _recalled(self, frames: Iterable[FrameInFlight]) -> list[Action]:
        return [action for frame in frames for action in self._recall(frame)]

    def _recall(self, frame: FrameInFlight) -> list[Action]:
        if self._is_unwanted(frame):
            return self._drop(frame.key, Stage.DISPATCH, Reason.STOPPED)
        if self._sources[frame.key.source].is_settled:
            return self._drop(frame.key, Stage.DISPATCH, Reason.LOST)
        frame.phase = Phase.RECALLED
        frame.was_recalled = True
        self.redelivered += 1
        return [RecallFrame(frame.key)]

    def _is_unwanted(self, frame: FrameInFlight) -> bool:
        """Tell whether a frame is not to be begun on any more."""
        return frame.is_live and self._live_until_s is not None

    def _drop(self, key: FrameKey, stage: Stage, reason: Reason) -> list[Action]:
        return self._end(key, Drop(key, stage, reason))

    def _end(self, key: FrameKey, drop: Drop | None) -> list[Action]:
        self._sources[key.source].end(key.seq, drop)
        return [End(key, drop), *self._finish(key.source)]

    def _finish(self, name: str) -> list[Action]:
        source = self._sources[name]
        if not source.has_ended or source.frames or source.is_finished:
            return []
        source.is_finished = True
        return [Finish(name)]

    def _hand_out(self, now_s: float) -> list[Action]:
        """Give waiting frames to free replicas until either runs out, or the rest waits for fuller batches."""
        actions: list[Action] = []
        while (found := self._matchmaker.next(now_s)) is not None:
            name, frames = found
            too_old = [frame for frame in frames if self._is_too_old(frame, now_s)]
            if too_old:
                actions += [a for f in too_old for a in self._drop(f.key, Stage.DISPATCH, Reason.EXPIRED)]
                continue
            self._waiting.take(frames)
            self._replicas.give(name, frames, now_s)
            actions.append(Assign(name, tuple(frame.key for frame in frames)))
        return actions

    def _is_too_old(self, frame: FrameInFlight, now_s: float) -> bool:
        max_age_s = self._sources[frame.key.source].max_age_s
        return max_age_s is not None and now_s - frame.captured_s > max_age_s
