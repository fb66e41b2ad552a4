"""What the dispatcher knows: the frames in flight of each source, and what each replica holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from posestream.pipeline.dispatch.counters import FrameCounts, kind_of
from posestream.pipeline.dispatch.endings import Endings
from posestream.stages.items import Drop, FrameKey, Reason, Stage

__all__ = ["FrameInFlight", "Phase", "ReplicaRecord", "ReplicaState", "ReplicaView", "Size", "SourceRecord"]

#: Height and width of a network input.
Size = tuple[int, int]


class Phase(Enum):
    """Where a frame is: waiting for a replica, held by one, or asked of its lane again; or it is in flight no more."""

    WAITING = auto()
    HELD = auto()
    RECALLED = auto()
    ENDED = auto()


@dataclass(slots=True, eq=False)
class FrameInFlight:
    """A frame in flight."""

    key: FrameKey
    captured_s: float
    size: Size
    #: Since when it waits, or a frame of its source that it took the place of.
    since_s: float
    #: True: its source's frames come by themselves, and it is of use only while it is fresh.
    is_live: bool = False
    phase: Phase = Phase.WAITING
    #: Replicas that were lost, or failed, with it in hand.
    losses: int = 0
    #: True once its lane was asked for it again.
    was_recalled: bool = False
    #: When it was last given to a replica.
    given_s: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """True while it waits for a replica."""
        return self.phase is Phase.WAITING

    @property
    def is_in_flight(self) -> bool:
        """True until it ends, or is forgotten with its lane."""
        return self.phase is not Phase.ENDED

    @property
    def is_on_trial(self) -> bool:
        """True if it may have brought a replica down; the others that were lost with it may have as well."""
        return self.losses > 0


@dataclass(slots=True)
class SourceRecord:
    """A source and its frames in flight by seq."""

    #: True where frames come by themselves: none waits inside a replica, and none is begun once the run is stopped.
    is_live: bool
    #: True: of the frames that wait only the newest is wanted.
    keeps_newest: bool
    max_age_s: float | None
    frames: dict[int, FrameInFlight] = field(default_factory=dict)
    counts: FrameCounts = field(default_factory=FrameCounts)
    #: The seq that the lane will send next.
    next_seq: int = 0
    #: How the frames of a recorded source ended: a lane that goes on after another one died may do them once more. A
    #: live source's are past.
    endings: Endings = field(default_factory=Endings)
    has_ended: bool = False
    is_finished: bool = False
    #: True once its lane has ended for good: it sends no frame again.
    is_settled: bool = False

    @property
    def waiting(self) -> int:
        """How many frames wait for a replica, or for their lane to send them again."""
        return sum(1 for frame in self.frames.values() if frame.phase is not Phase.HELD)

    def expects(self, seq: int) -> bool:
        """Tell whether a frame is the next one, or one that was recalled."""
        known = self.frames.get(seq)
        if known is not None:
            return known.phase is Phase.RECALLED
        return not self.has_ended and seq == self.next_seq

    def take(self, frame: FrameInFlight) -> None:
        """Count the next frame, which is in flight now."""
        self.frames[frame.key.seq] = frame
        self.counts.taken += 1
        self.next_seq += 1

    def take_dropped(self, drop: Drop) -> None:
        """Count the next frame, which its lane could not prepare."""
        self.counts.taken += 1
        self.next_seq += 1
        self._note_end(drop.key.seq, drop)

    def end(self, seq: int, drop: Drop | None) -> None:
        """End a frame in flight."""
        self.frames.pop(seq).phase = Phase.ENDED
        self._note_end(seq, drop)

    def outdated(self) -> list[FrameInFlight]:
        """Give the frames that wait behind a newer one, which takes their place in time too.

        A fast source would else wait for its batch for ever.
        """
        waiting = [frame for frame in self.frames.values() if frame.is_waiting]
        *older, newest = sorted(waiting, key=lambda frame: frame.key.seq)
        newest.since_s = min(frame.since_s for frame in waiting)
        return older

    def settle(self) -> None:
        """Forget how the last frames ended, and give up those that were recalled: no lane follows to send them."""
        self.is_settled = True
        for seq in [seq for seq, frame in self.frames.items() if frame.phase is Phase.RECALLED]:
            self.end(seq, Drop(self.frames[seq].key, Stage.DISPATCH, Reason.LOST))
        self.endings.clear()

    def go_back(self, seq: int) -> None:
        """Forget the frames from `seq` on, as if never taken; those before it that had not ended are lost."""
        lost = [Drop(frame.key, Stage.DISPATCH, Reason.LOST) for before, frame in self.frames.items() if before < seq]
        self.counts.forget(self.endings.forget_from(seq), len(self.frames) - len(lost))
        for drop in lost:
            self._note_end(drop.key.seq, drop)
        for frame in self.frames.values():
            frame.phase = Phase.ENDED
        self.frames.clear()
        self.next_seq = seq
        self.has_ended = self.is_finished = False

    def _note_end(self, seq: int, drop: Drop | None) -> None:
        self.counts.end(drop)
        if not self.is_live:
            self.endings.note(seq, kind_of(drop))


class ReplicaState(StrEnum):
    """How a replica is; one that was lost is not there any more."""

    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as the dispatcher sees it."""

    name: str
    state: ReplicaState
    credits: int
    held: int


@dataclass(slots=True)
class ReplicaRecord:
    """A replica, the credits it gave and what it holds."""

    heard_s: float
    credits: int = 0
    #: How many of those may be frames of live sources.
    fresh_credits: int = 0
    #: How many frames of one size it likes to be given together.
    batch: int = 1
    is_loading: bool = True
    #: The frames themselves, since a lane that goes on after another one may send the same keys anew.
    held: dict[FrameKey, FrameInFlight] = field(default_factory=dict)

    @property
    def state(self) -> ReplicaState:
        """How it is."""
        if self.is_loading:
            return ReplicaState.LOADING
        return ReplicaState.BUSY if self.held else ReplicaState.READY

    @property
    def free(self) -> int:
        """How many more frames it takes; none beside one on trial."""
        # One on trial was given when it held nothing.
        first = next(iter(self.held.values()), None)
        is_trying = first is not None and first.is_on_trial and first.is_in_flight
        return 0 if self.is_loading or is_trying else self.credits - len(self.held)

    @property
    def free_fresh(self) -> int:
        """How many more frames it takes where one of them is a live source's: what its engine begins on soon."""
        # A batch that it likes must fit, or the frame would wait for ever.
        return self.free - self.credits + min(self.credits, max(self.fresh_credits, self.most))

    @property
    def most(self) -> int:
        """How many frames it is given together at most."""
        return max(1, min(self.batch, self.credits))
