"""The dispatcher's laws, checked after every step of random histories."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from posestream.pipeline.dispatch.actions import Action, Assign, End, Finish, RecallFrame
from posestream.pipeline.dispatch.dispatcher import Dispatcher, DispatcherSettings
from posestream.pipeline.dispatch.in_flight import Size
from posestream.stages.items import Drop, FrameKey, Reason, Stage

SETTINGS = DispatcherSettings(
    heartbeat_timeout_s=5.0,
    loading_timeout_s=180.0,
    way_timeout_s=5.0,
    poison_after=2,
    batch_wait_s=0.02,
    live_stop_s=1.5,
)
#: The dispatcher's own reasons that a recorded source may meet.
RECORDED_REASONS = {Reason.POISON, Reason.STOPPED}

sources = st.sampled_from(["door", "file", "gate"])
replicas = st.sampled_from(["r1", "r2"])
picks = st.integers(0, 1_000_000)
batches = st.sampled_from([1, 1, 2, 3, 8])
#: Of network inputs; a source of pictures may have several.
SIZES = ((256, 456), (368, 432))
sizes = st.sampled_from([SIZES[0], SIZES[0], SIZES[1]])
#: Whether it is live, whether only its newest frame is to wait, and its greatest age.
Kind = tuple[bool, bool, float | None]
KINDS: tuple[Kind, ...] = (
    *((False, False, None), (False, False, None)),
    *((True, True, 0.5), (True, True, 3.0), (True, False, None), (True, False, 3.0)),
)
kinds = st.sampled_from(KINDS)


@dataclass
class SourceModel:
    """What the outside knows of a source."""

    is_live: bool
    keeps_newest: bool
    max_age_s: float | None
    taken: int = 0
    has_ended: bool = False
    finishes: int = 0
    captured_s: dict[int, float] = field(default_factory=dict)
    size: dict[int, Size] = field(default_factory=dict)
    #: Since when each waits, or one of a live source that it took the place of.
    since_s: dict[int, float] = field(default_factory=dict)
    #: Frames taken and not ended: "waiting", "again" (waiting after a recall), "held" or "recalled".
    state: dict[int, str] = field(default_factory=dict)
    losses: Counter[int] = field(default_factory=Counter)
    #: Frames that ended, each with its reason, "" where it was posed.
    ended: dict[int, str] = field(default_factory=dict)

    def waiting(self, *kinds: str) -> list[int]:
        return [seq for seq, state in self.state.items() if state in (kinds or ("waiting", "again"))]

    def on_trial(self) -> list[int]:
        return [seq for seq in self.waiting("again") if self.losses[seq]]

    def due(self, now_s: float) -> list[int]:
        return [seq for seq in self.waiting() if now_s >= self.since_s[seq] + SETTINGS.batch_wait_s]

    def of_size(self, size: Size) -> list[int]:
        """Frames that could be served together now: new ones only as far as none of another size is before them."""
        again = [seq for seq in self.waiting("again") if self.size[seq] == size and not self.losses[seq]]
        return again + list(itertools.takewhile(lambda seq: self.size[seq] == size, sorted(self.waiting("waiting"))))

    def go_back(self, first: int) -> None:
        self.taken, self.has_ended, self.finishes = first, False, 0
        self.ended |= dict.fromkeys(self.state, f"{Stage.DISPATCH}/{Reason.LOST}")
        self.ended = {seq: reason for seq, reason in self.ended.items() if seq < first}
        self.state.clear()
        self.losses = Counter({seq: losses for seq, losses in self.losses.items() if seq < first})

    @property
    def dropped(self) -> Counter[str]:
        return Counter(reason for reason in self.ended.values() if reason)


@dataclass
class ReplicaModel:
    """What the dispatcher has been told of a replica, and what it has given to it."""

    heard_s: float
    credits: int
    batch: int
    is_loading: bool
    #: How many of live sources it may hold; 0: as many as of others.
    fresh: int = 0
    #: The frame that it was given alone, since it was lost with a replica before.
    trial: FrameKey | None = None
    held: set[FrameKey] = field(default_factory=set)
    #: When each of them was given.
    given_s: dict[FrameKey, float] = field(default_factory=dict)
    #: Those among them that were given by a lane that died since.
    stale: set[FrameKey] = field(default_factory=set)

    @property
    def room(self) -> int:
        is_trying = self.trial in self.held and self.trial not in self.stale
        return 0 if self.is_loading or is_trying else self.credits - len(self.held)

    @property
    def room_fresh(self) -> int:
        """Give the room for what begins at once: frames of live sources, and what goes together with them."""
        return min(self.room, min(self.credits, max(self.fresh or self.credits, self.most)) - len(self.held))

    @property
    def most(self) -> int:
        return min(self.batch, self.credits)


class DispatcherHistory(RuleBasedStateMachine):
    """Drives a dispatcher with whatever can happen, and keeps its own books beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher(SETTINGS)
        self.now_s = 1000.0
        self.lane_models: dict[str, SourceModel] = {}
        self.replica_models: dict[str, ReplicaModel] = {}
        #: Everything that any replica was ever given: late and double reports come from here.
        self.given: list[tuple[str, FrameKey]] = []
        self.recalled: list[FrameKey] = []
        #: For each source with waiting frames, who was served since its own last turn.
        self.passed_by: dict[str, set[str]] = {}
        self.posing: tuple[FrameKey, float] | None = None
        self.own_drop: Drop | None = None
        self.is_abandoning = False
        #: When live sources are waited for no more; None: the run is not stopped.
        self.live_until_s: float | None = None

    # lanes

    @initialize(
        kinds=st.lists(kinds, min_size=3, max_size=3),
        replicas=st.lists(st.tuples(st.integers(0, 6), batches, st.integers(0, 6)), max_size=2),
    )
    def lanes_and_replicas_join(self, kinds: list[Kind], replicas: list[tuple[int, int, int]]) -> None:
        """Recorded sources have no age; there may be no replica yet."""
        for name, kind in zip(["door", "file", "gate"], kinds, strict=False):
            self.lane_models[name] = lane = SourceModel(*kind)
            assert self.join(name, lane, 0) == []
        for name, (credit, batch, fresh) in zip(["r1", "r2"], replicas, strict=False):
            self.replica_joins(name, credit, batch, fresh)

    def join(self, name: str, lane: SourceModel, first: int) -> list[Action]:
        return self.dispatcher.lane_joined(
            name, is_live=lane.is_live, max_age_s=lane.max_age_s, first_seq=first, keeps_newest=lane.keeps_newest
        )

    @rule(name=sources, back=st.integers(0, 6))
    def lane_goes_on_after_death(self, name: str, back: int) -> None:
        """A recorded source's successor takes again what was in flight and not kept; a live one's goes on from now."""
        lane = self.lane_models.get(name)
        if lane is None:
            return
        first = lane.taken if lane.is_live else min([max(0, lane.taken - back), *lane.state])
        lane.go_back(first)
        for replica in self.replica_models.values():
            replica.stale |= {key for key in replica.held if key.source == name}
        assert self.join(name, lane, first) == []
        self.passed_by[name] = set()
        self.tick()  # as the loop does after every round: a frame on trial may have been forgotten

    @rule(name=sources, age_s=st.sampled_from([0.0, 0.4, 2.0]), size=sizes, count=st.integers(1, 4))
    def frames_come(self, name: str, age_s: float, size: Size, count: int) -> None:
        for _ in range(count):
            lane = self.lane_models.get(name)
            key, captured_s = FrameKey(name, lane.taken if lane else 0), self.now_s - age_s
            if lane is not None and not lane.has_ended:
                self.begin(lane, key.seq, captured_s, size)
            self.apply(self.dispatcher.frame_taken(key, captured_s, self.now_s, size))

    def begin(self, lane: SourceModel, seq: int, captured_s: float, size: Size) -> None:
        lane.captured_s[seq], lane.size[seq], lane.since_s[seq] = captured_s, size, self.now_s
        if lane.keeps_newest:
            lane.since_s[seq] = min([self.now_s, *(lane.since_s[other] for other in lane.waiting())])
        lane.state[seq] = "waiting"
        lane.taken += 1

    @rule(name=sources, shift=st.sampled_from([-2, -1, 1, 5]))
    def frame_out_of_turn(self, name: str, shift: int) -> None:
        """A frame that is neither the next nor recalled: a double, or from nowhere."""
        lane = self.lane_models.get(name)
        seq = (lane.taken if lane else 0) + shift
        if seq < 0 or (lane is not None and lane.state.get(seq) == "recalled"):
            return
        assert self.dispatcher.frame_taken(FrameKey(name, seq), self.now_s, self.now_s) == []

    @rule(name=sources)
    def lane_drops(self, name: str) -> None:
        lane = self.lane_models.get(name)
        drop = Drop(FrameKey(name, lane.taken if lane else 0), Stage.DECODE, Reason.UNDECODABLE)
        if lane is not None and not lane.has_ended:
            lane.state[lane.taken] = "dropping"
            lane.taken += 1
            self.own_drop = drop
        self.apply(self.dispatcher.frame_dropped(drop))
        self.own_drop = None

    @rule(name=sources)
    def lane_ends(self, name: str) -> None:
        lane = self.lane_models.get(name)
        if lane is not None:
            lane.has_ended = True
        self.apply(self.dispatcher.lane_ended(name))

    @precondition(lambda self: self.recalled)
    @rule(pick=picks, is_old=st.booleans())
    def recall_is_answered(self, pick: int, is_old: bool) -> None:
        """Any recall, in any order, also one that was answered before."""
        open_now = [FrameKey(n, seq) for n, lane in self.lane_models.items() for seq in lane.waiting("recalled")]
        among = (not is_old and open_now) or self.recalled
        self.answer(among[pick % len(among)])

    def answer(self, key: FrameKey) -> None:
        lane = self.lane_models[key.source]
        size = lane.size[key.seq]
        if lane.state.get(key.seq) == "recalled":
            lane.since_s[key.seq] = self.now_s
            if lane.keeps_newest:
                newest = max([key.seq, *lane.waiting()])
                lane.since_s[newest] = min([self.now_s, *(lane.since_s[other] for other in lane.waiting())])
            lane.state[key.seq] = "again"
        elif key.seq == lane.taken and not lane.has_ended:
            # It was recalled from a lane that died; its successor sends it as new.
            self.begin(lane, key.seq, self.now_s, size)
        self.apply(self.dispatcher.frame_taken(key, self.now_s, self.now_s, size))

    # replicas

    @rule(name=replicas, credit=st.integers(0, 6), batch=batches, fresh=st.integers(0, 6))
    def replica_joins(self, name: str, credit: int, batch: int, fresh: int) -> None:
        known = self.replica_models.get(name)
        if known is None or credit == 0:
            self.lose(name, blame=True)
            self.replica_models[name] = ReplicaModel(self.now_s, credit, batch, credit == 0, fresh)
        else:
            known.heard_s, known.credits, known.batch, known.is_loading = self.now_s, credit, batch, False
            known.fresh = fresh
        self.apply(self.dispatcher.replica_joined(name, credit, self.now_s, batch, fresh))

    @rule(name=replicas, is_loading=st.booleans(), credit=st.integers(0, 6), batch=batches, fresh=st.integers(0, 6))
    def replica_beats(self, name: str, is_loading: bool, credit: int, batch: int, fresh: int, lost: int = 0) -> None:
        """Also one that the dispatcher had lost: it comes back by that. Bits of `lost` are frames that it lacks."""
        known = self.replica_models.setdefault(name, ReplicaModel(self.now_s, credit, batch, True))
        known.heard_s, known.credits, known.batch, known.fresh = self.now_s, credit, batch, fresh
        known.is_loading = is_loading or credit == 0
        has = [key for number, key in enumerate(sorted(known.held)) if not lost >> number & 1]
        self.miss(known, has)
        self.apply(
            self.dispatcher.replica_heard(
                name, self.now_s, is_loading=is_loading, credit=credit, batch=batch, fresh=fresh, held=has
            )
        )

    @rule(name=replicas, lost=st.integers(1, 255), beats=st.integers(1, 3))
    def frames_get_lost_on_the_way(self, name: str, lost: int, beats: int) -> None:
        """A connection was cut: a replica beats on, now and up to six seconds later, and lacks some of its frames."""
        for beat in range(beats):
            if beat:
                self.time_passes(3.0)
            known = self.replica_models.get(name)
            if known is not None:
                self.replica_beats(name, known.is_loading, known.credits, known.batch, known.fresh, lost)

    @rule(name=replicas)
    def replica_dies(self, name: str) -> None:
        self.lose(name, blame=True)
        self.apply(self.dispatcher.replica_lost(name, self.now_s))

    @rule(name=replicas)
    def replica_leaves(self, name: str) -> None:
        self.lose(name, blame=False)
        self.apply(self.dispatcher.replica_left(name, self.now_s))

    @precondition(lambda self: self.held_now())
    @rule(pick=picks, infer_s=st.sampled_from([0.0, 0.1, 1.0]), wait_s=st.sampled_from([0.0, 0.0, 0.3, 0.8]))
    def result_comes(self, pick: int, infer_s: float, wait_s: float) -> None:
        """In time or not."""
        self.now_s += wait_s
        self.report_result(*self.held_now()[pick % len(self.held_now())], infer_s)

    @precondition(lambda self: self.given)
    @rule(pick=picks)
    def result_comes_late_or_twice(self, pick: int) -> None:
        """From any replica that ever had the frame."""
        self.report_result(*self.given[pick % len(self.given)], 0.1)

    def held_now(self) -> list[tuple[str, FrameKey]]:
        return [(name, key) for name, replica in self.replica_models.items() for key in sorted(replica.held)]

    def report_result(self, name: str, key: FrameKey, infer_s: float) -> None:
        if self.give_back(name, key):
            self.posing = (key, infer_s)
        self.apply(self.dispatcher.result(name, key, infer_s, self.now_s))
        assert self.posing is None, "a result that was waited for ended nothing"

    @precondition(lambda self: self.given)
    @rule(pick=picks, is_old=st.booleans())
    def inference_fails(self, pick: int, is_old: bool) -> None:
        among = (not is_old and self.held_now()) or self.given
        name, key = among[pick % len(among)]
        if self.give_back(name, key):
            self.lane_models[key.source].losses[key.seq] += 1
        self.apply(self.dispatcher.failed(name, key, self.now_s))

    @rule(name=replicas, source=st.sampled_from(["door", "nobody"]), is_result=st.booleans())
    def report_on_unknown_frame(self, name: str, source: str, is_result: bool) -> None:
        if name in self.replica_models:
            self.replica_models[name].heard_s = self.now_s
        report = FrameKey(source, 1000)
        if is_result:
            self.apply(self.dispatcher.result(name, report, 0.1, self.now_s))
        else:
            self.apply(self.dispatcher.failed(name, report, self.now_s))

    # time and the end

    @rule(step_s=st.sampled_from([0.01, 0.01, 0.02, 0.3, 2.0, 6.0, 200.0]))
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s
        self.tick()

    @precondition(lambda self: self.dispatcher.due_s is not None)
    @rule()
    def time_comes(self) -> None:
        """It is called when it asked for it."""
        self.now_s = max(self.now_s, self.dispatcher.due_s or 0.0)
        self.tick()

    def tick(self) -> None:
        for name, replica in list(self.replica_models.items()):
            patience_s = SETTINGS.loading_timeout_s if replica.is_loading else SETTINGS.heartbeat_timeout_s
            if self.now_s - replica.heard_s > patience_s:
                self.lose(name, blame=True)
        self.apply(self.dispatcher.tick(self.now_s))
        if self.live_until_s is not None and self.now_s >= self.live_until_s:
            assert not any(lane.state for lane in self.lane_models.values() if lane.is_live), "waited for too long"

    @rule(wait_s=st.sampled_from([0.0, 0.0, 1.4, 1.6]))
    def run_is_stopped(self, wait_s: float) -> None:
        """Also when it was stopped before, which changes nothing."""
        if self.live_until_s is None:
            self.live_until_s = self.now_s + SETTINGS.live_stop_s
        self.apply(self.dispatcher.wind_down(self.now_s))
        self.now_s += wait_s
        self.tick()

    @rule(names=st.sets(sources))
    def everything_is_abandoned(self, names: set[str]) -> None:
        self.is_abandoning = True
        self.apply(self.dispatcher.abandon([name for name in sorted(names) if name in self.lane_models]))
        self.is_abandoning = False
        for name in names & self.lane_models.keys():
            assert not self.lane_models[name].state
        self.tick()

    # books

    def lose(self, name: str, *, blame: bool) -> None:
        """A replica is out; what it held must come up in the actions."""
        replica = self.replica_models.pop(name, None)
        for key in replica.held if replica else ():
            lane = self.lane_models[key.source]
            if key not in replica.stale and key.seq in lane.state and blame:
                lane.losses[key.seq] += 1

    def miss(self, replica: ReplicaModel, has: list[FrameKey]) -> None:
        """What a replica was given long ago and has not is out too; what may still be on its way is not."""
        for key in replica.held - set(has):
            if replica.given_s[key] < self.now_s - SETTINGS.way_timeout_s:
                replica.held.discard(key)
                replica.stale.discard(key)

    def give_back(self, name: str, key: FrameKey) -> bool:
        """Note a report; True if it must count."""
        replica = self.replica_models.get(name)
        if replica is None:
            return False
        replica.heard_s = self.now_s
        if key not in replica.held:
            return False
        is_stale = key in replica.stale
        replica.held.discard(key)
        replica.stale.discard(key)
        return not is_stale and key.seq in self.lane_models[key.source].state

    def apply(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Assign():
                    self.assigned(action.replica, action.keys)
                case End():
                    self.ended(action.key, action.drop)
                case RecallFrame():
                    lane = self.lane_models[action.key.source]
                    assert lane.state[action.key.seq] == "held", "only what is held can be recalled"
                    lane.state[action.key.seq] = "recalled"
                    self.recalled.append(action.key)
                case Finish():
                    lane = self.lane_models[action.source]
                    assert lane.has_ended
                    assert not lane.state, "finished with frames in flight"
                    lane.finishes += 1
        for name, lane in self.lane_models.items():
            if not lane.waiting("waiting"):
                self.passed_by[name] = set()

    def assigned(self, name: str, keys: tuple[FrameKey, ...]) -> None:
        replica = self.replica_models[name]
        lanes = [self.lane_models[key.source] for key in keys]
        batch_sizes = {lane.size[key.seq] for lane, key in zip(lanes, keys, strict=True)}
        assert len(batch_sizes) == 1, "a batch is of one size"
        assert 1 <= len(keys) <= replica.most, "no more together than the replica likes"
        (size,) = batch_sizes
        if lanes[0].losses[keys[0].seq]:
            assert len(keys) == 1, "a frame on trial is alone"
            assert not replica.held, "a frame on trial is given to a replica that holds nothing"
            replica.trial = keys[0]
        else:
            replica.trial = None
            self.check_fullness(replica, keys, size)
            if any(lane.is_live for lane in lanes):
                assert len(keys) <= replica.room_fresh, "a live frame waits inside a replica"
        self.check_first(keys[0], size, replica.most)
        for key in keys:
            self.assigned_one(name, key, size)

    def check_fullness(self, replica: ReplicaModel, keys: tuple[FrameKey, ...], size: Size) -> None:
        """A batch that is not full has all that there is, and has waited."""
        assert not any(self.lane_models[key.source].losses[key.seq] for key in keys), "a frame on trial is alone"
        there = sum(len(lane.of_size(size)) for lane in self.lane_models.values())
        assert len(keys) == min(replica.most, there), "frames of this size were left out"
        if len(keys) < replica.most:
            due = [key for key in keys if key.seq in self.lane_models[key.source].due(self.now_s)]
            assert due, "a batch that is not full did not wait for others"

    def check_first(self, key: FrameKey, size: Size, most: int) -> None:
        """Nobody who could be served now is passed over for a batch that begins with this frame."""
        if self.lane_models[key.source].state[key.seq] == "again":
            return
        for name, lane in self.lane_models.items():
            for seq in lane.waiting("again"):
                is_ready = most == 1 or lane.losses[seq] or seq in lane.due(self.now_s) or lane.size[seq] == size
                assert not is_ready, "redone frames go first"
            first = min(lane.waiting("waiting"), default=None)
            if first is not None and name != key.source and (most == 1 or first in lane.due(self.now_s)):
                assert key.source not in self.passed_by.get(name, ()), f"{key.source} went first twice, {name} waits"

    def assigned_one(self, name: str, key: FrameKey, size: Size) -> None:
        lane, replica = self.lane_models[key.source], self.replica_models[name]
        assert key.seq not in lane.ended, "an ended frame is never assigned"
        is_again = lane.state[key.seq] == "again"
        assert lane.state[key.seq] in ("waiting", "again")
        assert replica.room > 0, "more than the replica's credits"
        if lane.max_age_s is not None:
            assert self.now_s - lane.captured_s[key.seq] <= lane.max_age_s, "too old to be inferred"
        self.check_order(key, size, is_again)
        lane.state[key.seq] = "held"
        replica.held.add(key)
        replica.given_s[key] = self.now_s
        replica.stale.discard(key)
        self.given.append((name, key))
        if not is_again:
            self.check_fairness(key.source, size)

    def check_order(self, key: FrameKey, size: Size, is_again: bool) -> None:
        lane = self.lane_models[key.source]
        if not is_again:
            for other in self.lane_models.values():
                assert not any(other.state[seq] == "again" for seq in other.of_size(size)), "redone frames go first"
            assert key.seq == min(lane.waiting("waiting")), "new frames of a source go in order"

    def check_fairness(self, served: str, size: Size) -> None:
        for name, lane in self.lane_models.items():
            waiting = lane.waiting("waiting")
            if name == served or not waiting:
                self.passed_by[name] = set()
            else:
                passed = self.passed_by.setdefault(name, set())
                if lane.size[min(waiting)] == size:
                    assert served not in passed, f"{served} was served twice while {name} waited"
                passed.add(served)

    def ended(self, key: FrameKey, drop: Drop | None) -> None:
        lane = self.lane_models[key.source]
        assert key.seq not in lane.ended, "a frame ends once"
        state = lane.state.pop(key.seq)
        for replica in self.replica_models.values():
            replica.trial = None if replica.trial == key else replica.trial
        lane.ended[key.seq] = "" if drop is None else f"{drop.stage}/{drop.reason}"
        if drop is None:
            assert self.posing is not None
            assert self.posing[0] == key
            if lane.max_age_s is not None:
                assert self.now_s - lane.captured_s[key.seq] <= lane.max_age_s + self.posing[1]
            self.posing = None
        else:
            assert drop.key == key
            self.check_drop(lane, key, drop, state)

    def check_drop(self, lane: SourceModel, key: FrameKey, drop: Drop, state: str) -> None:
        """Each reason has its cause."""
        if drop == self.own_drop:
            return
        if not lane.is_live:
            assert drop.reason in RECORDED_REASONS
        if not lane.keeps_newest:
            assert drop.reason is not Reason.NEWER
        age_s = self.now_s - lane.captured_s[key.seq]
        match drop.reason:
            case Reason.STOPPED:
                is_stopped = lane.is_live and self.live_until_s is not None
                is_begun = any(key in replica.held - replica.stale for replica in self.replica_models.values())
                is_waited_for = is_begun and self.now_s < (self.live_until_s or 0.0)
                assert self.is_abandoning or (is_stopped and not is_waited_for)
            case Reason.POISON:
                assert lane.losses[key.seq] >= SETTINGS.poison_after
            case Reason.NEWER:
                assert state in ("waiting", "again")
                assert max(lane.waiting(), default=-1) > key.seq, "nothing newer waits"
            case Reason.EXPIRED:
                assert state in ("waiting", "again")
                assert age_s > (lane.max_age_s or 0)
            case Reason.LATE:
                assert self.posing is not None
                assert age_s > (lane.max_age_s or 0) + self.posing[1]
                self.posing = None
            case _:
                raise AssertionError(f"the dispatcher has no reason {drop.reason}")

    @invariant()
    def counts_add_up(self) -> None:
        for name, counts in self.dispatcher.counts.items():
            lane = self.lane_models[name]
            assert counts.taken == lane.taken
            assert counts.posed == list(lane.ended.values()).count("")
            assert counts.dropped == lane.dropped
            assert counts.in_flight == len(lane.state)
            assert counts.taken == counts.posed + counts.dropped.total() + counts.in_flight

    @invariant()
    def held_is_with_somebody(self) -> None:
        held = {key for replica in self.replica_models.values() for key in replica.held - replica.stale}
        for name, lane in self.lane_models.items():
            for seq in lane.waiting("held"):
                assert FrameKey(name, seq) in held, "a lost replica's frame was forgotten"

    @invariant()
    def nobody_is_idle_while_frames_wait(self) -> None:
        """A replica with room for all that it likes together leaves no full batch, nor what has waited long enough."""
        assert set(self.dispatcher.replicas) == set(self.replica_models)
        lanes = self.lane_models.values()
        since_s = [lane.since_s[seq] for lane in lanes for seq in lane.waiting()]
        for replica in self.replica_models.values():
            # While frames on trial wait, replicas are emptied for them.
            may_take = not replica.held or not any(lane.on_trial() for lane in lanes)
            # While a live source's frame waits, replicas are emptied until they begin on it.
            is_live_waiting = any(lane.is_live and lane.waiting() for lane in lanes)
            room = replica.room_fresh if is_live_waiting else replica.room
            if room >= max(1, replica.most) and may_take:
                assert not any(lane.due(self.now_s) for lane in lanes)
                for size in SIZES:
                    assert sum(len(lane.of_size(size)) for lane in lanes) < replica.most
                if since_s:
                    assert self.dispatcher.due_s is not None, "nobody will see to what waits"
                    assert self.dispatcher.due_s <= min(since_s) + SETTINGS.batch_wait_s

    @invariant()
    def frames_on_trial_are_alone(self) -> None:
        """Only the frame that brings a replica down a second time is there to be blamed."""
        for replica in self.replica_models.values():
            for key in replica.held - replica.stale:
                lane = self.lane_models[key.source]
                if key.seq in lane.state and lane.losses[key.seq]:
                    assert replica.held == {key}

    @invariant()
    def live_sources_stay_fresh(self) -> None:
        for lane in self.lane_models.values():
            if lane.keeps_newest:
                assert len(lane.waiting()) <= 1

    @invariant()
    def nothing_live_is_begun_after_a_stop(self) -> None:
        """What no engine has of a live source has ended, and so has all of it when patience is over."""
        if self.live_until_s is None:
            return
        for lane in self.lane_models.values():
            if lane.is_live:
                assert set(lane.state.values()) <= {"held"}

    @invariant()
    def poison_does_not_go_round(self) -> None:
        for lane in self.lane_models.values():
            assert all(lane.losses[seq] < SETTINGS.poison_after for seq in lane.state)

    @invariant()
    def finish_comes_once(self) -> None:
        for lane in self.lane_models.values():
            assert lane.finishes == (lane.has_ended and not lane.state)

    def check_laws(self) -> None:
        self.counts_add_up()
        self.held_is_with_somebody()
        self.nobody_is_idle_while_frames_wait()
        self.frames_on_trial_are_alone()
        self.live_sources_stay_fresh()
        self.nothing_live_is_begun_after_a_stop()
        self.poison_does_not_go_round()
        self.finish_comes_once()

    def teardown(self) -> None:
        """Everybody is well and answers: then everything ends."""
        for name in list(self.lane_models):
            self.lane_ends(name)
        self.replica_joins("r1", 2, 2, 2)
        for _ in range(10 + 3 * sum(len(lane.state) for lane in self.lane_models.values())):
            for replica in self.replica_models:
                self.replica_beats(replica, False, 2, 2, 2)
            if self.dispatcher.due_s is not None:
                self.time_comes()
            for name, lane in self.lane_models.items():
                for seq in lane.waiting("recalled"):
                    self.answer(FrameKey(name, seq))
            for name, replica in self.replica_models.items():
                for key in list(replica.held):
                    self.report_result(name, key, 0.1)
        for lane in self.lane_models.values():
            assert not lane.state
            assert set(lane.ended) == set(range(lane.taken))
            assert lane.finishes == 1


DispatcherHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


class TestDispatcherHistory(DispatcherHistory.TestCase):  # type: ignore[name-defined,misc]
    """Whatever happens in whatever order, the dispatcher keeps every law."""


def walk(machine: DispatcherHistory, random: Random) -> None:
    """Let anything happen once; what a run is mostly made of happens most."""
    name, replica, pick = random.choice(["door", "file", "gate"]), random.choice(["r1", "r2"]), random.randrange(10**6)
    size, batch = random.choice([SIZES[0], SIZES[0], SIZES[1]]), random.choice([1, 1, 2, 3, 8])
    fresh = random.randint(0, 6)
    steps: list[tuple[int, Callable[[], None]]] = [
        (20, lambda: machine.frames_come(name, random.choice([0.0, 0.4, 2.0]), size, random.randint(1, 4))),
        (2, lambda: machine.frame_out_of_turn(name, random.choice([-2, -1, 1]))),
        (2, lambda: machine.lane_drops(name)),
        (1, lambda: machine.lane_ends(name)),
        (2, lambda: machine.lane_goes_on_after_death(name, random.randint(0, 6))),
        (3, lambda: machine.replica_joins(replica, random.randint(0, 6), batch, fresh)),
        (3, lambda: machine.replica_beats(replica, random.random() < 0.2, random.randint(1, 6), batch, fresh)),
        (3, lambda: machine.frames_get_lost_on_the_way(replica, random.randint(1, 255), random.randint(1, 3))),
        (2, lambda: machine.replica_dies(replica)),
        (2, lambda: machine.replica_leaves(replica)),
        (6, lambda: machine.time_passes(random.choice([0.01, 0.02]))),
        (2, lambda: machine.time_passes(random.choice([0.3, 2.0, 6.0, 200.0]))),
        (1, lambda: machine.everything_is_abandoned({name})),
    ]
    if machine.dispatcher.due_s is not None:
        steps.append((10, machine.time_comes))
    if machine.held_now():
        steps.append(
            (20, lambda: machine.result_comes(pick, random.choice([0.0, 0.1, 1.0]), random.choice([0.0, 0.3])))
        )
    if machine.given:
        steps.append((3, lambda: machine.inference_fails(pick, random.random() < 0.5)))
        steps.append((3, lambda: machine.result_comes_late_or_twice(pick)))
    if machine.recalled:
        steps.append((10, lambda: machine.recall_is_answered(pick, random.random() < 0.3)))
    weights = [weight for weight, _ in steps]
    random.choices(steps, weights)[0][1]()


@pytest.mark.parametrize("seed", range(30))
def test_long_histories_keep_every_law(seed: int) -> None:
    """The laws hold over histories much longer than those that are searched for a short counterexample."""
    random = Random(seed)  # noqa: S311 - a history, not a secret
    machine = DispatcherHistory()
    machine.lanes_and_replicas_join([random.choice(KINDS) for _ in range(3)], [(4, 2, 2), (2, 1, 0)])
    for step in range(300):
        walk(machine, random)
        machine.check_laws()
        if step == 200:
            machine.run_is_stopped(random.choice([0.0, 1.4, 1.6]))
            machine.check_laws()
    machine.teardown()
