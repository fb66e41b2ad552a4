"""Who gets which frame, what is dropped and what is handed out again: events and a time in, actions out.

The class has no socket, thread or clock of its own, so that thousands of random histories can drive it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from posestream.pipeline.dispatch.actions import Action, Assign, End, Finish, RecallFrame
from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.dispatch.in_flight import FrameInFlight, Phase, ReplicaRecord, ReplicaView, SourceRecord
from posestream.stages.items import Drop, FrameKey, Reason, Stage

__all__ = ["Dispatcher", "DispatcherSettings"]


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """The dispatcher's patience."""

    #: A replica that was not heard for so long is lost.
    heartbeat_timeout_s: float = 5.0
    #: The same while it loads its network or compiles for a new shape.
    loading_timeout_s: float = 180.0
    #: A frame that a replica was given so long ago and says not to have got lost on the way, there or back.
    way_timeout_s: float = 5.0
    #: A frame that brought down so many replicas is dropped as poison.
    poison_after: int = 2


#: Frames that one replica may hold at once, whatever it asks for.
_MOST_CREDITS = 256


class Dispatcher:
    """Hands waiting frames to free replicas, fairly between sources, and ends every frame exactly once.

    Each method is one event; `now_s` is the head's monotonic clock. The actions that come back are to be done in
    their order.
    """

    def __init__(self, settings: DispatcherSettings) -> None:
        self._settings = settings
        self._sources: dict[str, SourceRecord] = {}
        self._replicas: dict[str, ReplicaRecord] = {}
        #: Sources with waiting frames, the next one to be served first.
        self._turns: deque[str] = deque()
        #: Frames that come back from lost replicas; they go ahead of all others.
        self._redo: deque[FrameKey] = deque()
        self.redelivered = 0
        #: Results of frames that had been handed out again.
        self.recovered = 0
        self.ignored = 0

    def __repr__(self) -> str:
        waiting = sum(len(source.waiting) for source in self._sources.values())
        held = sum(len(replica.held) for replica in self._replicas.values())
        return f"<Dispatcher sources={len(self._sources)} replicas={len(self._replicas)} waiting={waiting} held={held}>"

    @property
    def counts(self) -> dict[str, FrameCounts]:
        """A copy of every source's counts."""
        return {name: source.counts.copy() for name, source in self._sources.items()}

    def next_seq(self, name: str) -> int:
        """Give the number of the next frame of a source."""
        return self._sources[name].next_seq if name in self._sources else 0

    def waiting(self, name: str) -> int:
        """Count the frames of a source that wait for a replica."""
        source = self._sources.get(name)
        if source is None:
            return 0
        return sum(1 for frame in source.frames.values() if frame.phase is not Phase.HELD)

    @property
    def views(self) -> list[ReplicaView]:
        """How each replica is."""
        return [
            ReplicaView(name, replica.state, replica.credits, len(replica.held))
            for name, replica in self._replicas.items()
        ]

    @property
    def credits(self) -> int:
        """Frames that all replicas together will hold at once."""
        return sum(replica.credits for replica in self._replicas.values())

    @property
    def replicas(self) -> tuple[str, ...]:
        """The replicas that are there, in the order in which they came."""
        return tuple(self._replicas)

    # lanes

    def lane_joined(self, name: str, *, is_live: bool, max_age_s: float | None, first_seq: int = 0) -> list[Action]:
        """Begin to take frames from a source, or go on from `first_seq` after its lane died.

        What was in flight is forgotten: the lane that held it is gone. Frames from `first_seq` on that had ended are
        done again, since an output did not hold them yet.
        """
        if name not in self._sources:
            self._sources[name] = SourceRecord(is_live, max_age_s, next_seq=first_seq)
        else:
            self._sources[name].go_back(first_seq)
            self._redo = deque(key for key in self._redo if key.source != name)
        return []

    def expects(self, key: FrameKey) -> bool:
        """Tell whether a frame is the next of its source, or one that was recalled."""
        source = self._sources.get(key.source)
        if source is None:
            return False
        known = source.frames.get(key.seq)
        if known is not None:
            return known.phase is Phase.RECALLED
        return not source.has_ended and key.seq == source.next_seq

    def frame_taken(self, key: FrameKey, captured_s: float, now_s: float) -> list[Action]:
        """Queue a frame, or one that comes again after a recall."""
        if not self.expects(key):
            return self._ignore()
        source = self._sources[key.source]
        if key.seq in source.frames:
            return self._comes_again(source.frames[key.seq], now_s)
        source.counts.taken += 1
        source.next_seq += 1
        source.frames[key.seq] = FrameInFlight(key, captured_s)
        if not source.waiting and key.source not in self._turns:
            self._turns.append(key.source)
        source.waiting.append(key.seq)
        return self._keep_newest(key.source) + self._hand_out(now_s)

    def frame_dropped(self, drop: Drop) -> list[Action]:
        """Count a frame that its lane took but could not prepare."""
        source = self._sources.get(drop.key.source)
        if source is None or not self.expects(drop.key) or drop.key.seq in source.frames:
            return self._ignore()
        source.counts.taken += 1
        source.next_seq += 1
        source.counts.end(drop)
        source.endings.append((drop.key.seq, drop))
        return [End(drop.key, drop), *self._finish(drop.key.source)]

    def lane_ended(self, name: str) -> list[Action]:
        """Expect no more frames from a source."""
        source = self._sources.get(name)
        if source is None:
            return self._ignore()
        source.has_ended = True
        return self._finish(name)

    # replicas

    def replica_joined(self, name: str, credit: int, now_s: float) -> list[Action]:
        """Meet a replica; `credit` frames are what it will hold at once, 0 while it loads."""
        # Loading anew, it is another life under the same name: nobody has what the former one held.
        actions = self.replica_lost(name, now_s) if credit == 0 and name in self._replicas else []
        return actions + self.replica_heard(name, now_s, is_loading=False, credit=credit)

    def replica_heard(
        self, name: str, now_s: float, *, is_loading: bool, credit: int, held: Collection[FrameKey] | None = None
    ) -> list[Action]:
        """Note a replica's heartbeat; one that was given up (the whole process may have slept) is back by it.

        `held` is what it says to have: what it should have and has not is handed out again, and it is not to blame.
        """
        replica = self._replicas.setdefault(name, ReplicaRecord(now_s))
        replica.heard_s = now_s
        # What comes from other hosts bounds nothing here.
        replica.credits = min(credit, _MOST_CREDITS)
        replica.is_loading = is_loading or credit == 0
        recalls = [] if held is None else self._miss(replica, held, now_s)
        return recalls + self._hand_out(now_s)

    def replica_lost(self, name: str, now_s: float) -> list[Action]:
        """Take back what a replica holds: it died, hung or left."""
        replica = self._replicas.pop(name, None)
        if replica is None:
            return self._ignore()
        actions = [action for frame in self._take_from(replica) for action in self._lose(frame)]
        return actions + self._hand_out(now_s)

    def replica_left(self, name: str, now_s: float) -> list[Action]:
        """Take back what a replica holds, without blaming the frames."""
        replica = self._replicas.pop(name, None)
        if replica is None:
            return self._ignore()
        actions: list[Action] = [self._recall(frame) for frame in self._take_from(replica)]
        return actions + self._hand_out(now_s)

    def result(self, name: str, key: FrameKey, infer_s: float, now_s: float) -> list[Action]:
        """End a frame whose people were found; a result that nobody waits for is ignored."""
        frame = self._gives_back(name, key, now_s)
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

    def failed(self, name: str, key: FrameKey, now_s: float) -> list[Action]:
        """Try a frame again that a replica could not do, or drop it as poison."""
        frame = self._gives_back(name, key, now_s)
        if frame is None:
            return self._ignore() + self._hand_out(now_s)
        return self._lose(frame) + self._hand_out(now_s)

    # time and the end

    def tick(self, now_s: float) -> list[Action]:
        """Find replicas that fell silent, and hand out what waits."""
        actions: list[Action] = []
        for name in [name for name, replica in self._replicas.items() if self._is_silent(replica, now_s)]:
            actions += self.replica_lost(name, now_s)
        return actions + self._hand_out(now_s)

    def abandon(self, source_names: Iterable[str]) -> list[Action]:
        """Drop everything in flight of these sources as stopped: nobody is left who could do it."""
        actions: list[Action] = []
        for name in source_names:
            self._sources[name].waiting.clear()
            for seq in sorted(self._sources[name].frames):
                actions += self._drop(FrameKey(name, seq), Stage.DISPATCH, Reason.STOPPED)
        return actions

    # inside

    def _ignore(self) -> list[Action]:
        self.ignored += 1
        return []

    def _is_silent(self, replica: ReplicaRecord, now_s: float) -> bool:
        patience_s = self._settings.loading_timeout_s if replica.is_loading else self._settings.heartbeat_timeout_s
        return now_s - replica.heard_s > patience_s

    def _comes_again(self, frame: FrameInFlight, now_s: float) -> list[Action]:
        frame.phase = Phase.WAITING
        self._redo.append(frame.key)
        return self._keep_newest(frame.key.source) + self._hand_out(now_s)

    def _keep_newest(self, name: str) -> list[Action]:
        """Drop what waits of a live source but the newest, those that came again included."""
        source = self._sources[name]
        if not source.is_live:
            return []
        *older, newest = sorted(seq for seq, frame in source.frames.items() if frame.phase is Phase.WAITING)
        source.waiting = deque(seq for seq in source.waiting if seq == newest)
        return [action for seq in older for action in self._drop(FrameKey(name, seq), Stage.DISPATCH, Reason.NEWER)]

    def _gives_back(self, name: str, key: FrameKey, now_s: float) -> FrameInFlight | None:
        """Free the credit of a frame that a replica reports on; None if nobody waits for that report."""
        replica = self._replicas.get(name)
        if replica is None:
            return None
        replica.heard_s = now_s
        frame = replica.held.pop(key, None)
        return frame if frame is not None and self._is_in_flight(frame) else None

    def _take_from(self, replica: ReplicaRecord) -> list[FrameInFlight]:
        """List the frames that a replica holds and that were neither abandoned nor forgotten."""
        return [frame for frame in replica.held.values() if self._is_in_flight(frame)]

    def _is_in_flight(self, frame: FrameInFlight) -> bool:
        return self._sources[frame.key.source].frames.get(frame.key.seq) is frame

    def _miss(self, replica: ReplicaRecord, held: Collection[FrameKey], now_s: float) -> list[Action]:
        """Take back the frames that a replica was given long ago and has not."""
        patience_s = self._settings.way_timeout_s
        missing = [key for key, frame in replica.held.items() if key not in held and now_s - frame.given_s > patience_s]
        frames = [replica.held.pop(key) for key in missing]
        return [self._recall(frame) for frame in frames if self._is_in_flight(frame)]

    def _lose(self, frame: FrameInFlight) -> list[Action]:
        frame.losses += 1
        if frame.losses >= self._settings.poison_after:
            return self._drop(frame.key, Stage.INFER, Reason.POISON)
        return [self._recall(frame)]

    def _recall(self, frame: FrameInFlight) -> RecallFrame:
        frame.phase = Phase.RECALLED
        frame.was_recalled = True
        self.redelivered += 1
        return RecallFrame(frame.key)

    def _drop(self, key: FrameKey, stage: Stage, reason: Reason) -> list[Action]:
        return self._end(key, Drop(key, stage, reason))

    def _end(self, key: FrameKey, drop: Drop | None) -> list[Action]:
        source = self._sources[key.source]
        del source.frames[key.seq]
        source.counts.end(drop)
        source.endings.append((key.seq, drop))
        return [End(key, drop), *self._finish(key.source)]

    def _finish(self, name: str) -> list[Action]:
        source = self._sources[name]
        if not source.has_ended or source.frames or source.is_finished:
            return []
        source.is_finished = True
        return [Finish(name)]

    def _hand_out(self, now_s: float) -> list[Action]:
        """Give waiting frames to free replicas until either runs out."""
        actions: list[Action] = []
        while (replica := self._freest()) is not None:
            key = self._next_waiting()
            if key is None:
                break
            source = self._sources[key.source]
            frame = source.frames[key.seq]
            if source.max_age_s is not None and now_s - frame.captured_s > source.max_age_s:
                actions += self._drop(key, Stage.DISPATCH, Reason.EXPIRED)
                continue
            frame.phase = Phase.HELD
            frame.given_s = now_s
            self._replicas[replica].held[key] = frame
            actions.append(Assign(replica, key))
        return actions

    def _freest(self) -> str | None:
        """Name the replica with the most room, the one that came first among equals."""
        best = max(self._replicas, key=lambda name: self._replicas[name].free, default=None)
        return best if best is not None and self._replicas[best].free > 0 else None

    def _next_waiting(self) -> FrameKey | None:
        """Take the next frame: those that come again first, then one of each source in turn."""
        while self._redo:
            key = self._redo.popleft()
            if key.seq in self._sources[key.source].frames:
                return key
        while self._turns:
            name = self._turns.popleft()
            waiting = self._sources[name].waiting
            if not waiting:
                continue
            key = FrameKey(name, waiting.popleft())
            if waiting:
                self._turns.append(name)
            if key.seq in self._sources[name].frames:
                return key
        return None
