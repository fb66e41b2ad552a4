"""The dispatcher's decisions, one readable example each."""

from __future__ import annotations

import pytest

from posestream.pipeline.dispatch.actions import Assign, End, Finish, RecallFrame
from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.dispatch.dispatcher import Dispatcher, DispatcherSettings
from posestream.stages.items import Drop, FrameKey, Reason, Stage

SETTINGS = DispatcherSettings(heartbeat_timeout_s=5.0, loading_timeout_s=60.0, poison_after=2)


def dispatcher(*lanes: str, live: float | None = None) -> Dispatcher:
    """Make one with lanes that take frames; `live` is their `max_age_s`."""
    made = Dispatcher(SETTINGS)
    for lane in lanes:
        made.lane_joined(lane, is_live=live is not None, max_age_s=live)
    return made


def take(made: Dispatcher, lane: str, *seqs: int, now_s: float = 0.0) -> list[object]:
    """Let a lane send these frames."""
    return [action for seq in seqs for action in made.frame_taken(FrameKey(lane, seq), now_s, now_s)]


def dropped(lane: str, seq: int, stage: Stage, reason: Reason) -> End:
    """Give the action that ends a frame so."""
    key = FrameKey(lane, seq)
    return End(key, Drop(key, stage, reason))


def test_a_frame_goes_to_a_replica_and_ends_with_its_result() -> None:
    """A frame that waits is given to the first replica with room, and ends once its result is there."""
    made = dispatcher("door")
    key = FrameKey("door", 0)
    assert take(made, "door", 0) == []
    assert made.replica_joined("r1", 1, 0.0) == [Assign("r1", (key,))]
    assert made.result("r1", key, 0.01, 0.1) == [End(key, None)]
    assert made.lane_ended("door") == [Finish("door")]
    assert made.counts["door"].posed == 1


def test_a_result_that_arrives_twice_counts_once() -> None:
    """The second result of a frame ends nothing and is counted as ignored."""
    made = dispatcher("door")
    key = FrameKey("door", 0)
    made.replica_joined("r1", 1, 0.0)
    take(made, "door", 0)
    made.result("r1", key, 0.01, 0.1)
    assert made.result("r1", key, 0.01, 0.2) == []
    assert made.counts["door"].posed == 1
    assert made.ignored == 1


def test_newer_a_live_source_keeps_its_newest_frame() -> None:
    """While no replica is free, each frame of a live source replaces the one that waits."""
    made = dispatcher("door", live=1.0)
    assert take(made, "door", 0, 1, 2) == [
        dropped("door", 0, Stage.DISPATCH, Reason.NEWER),
        dropped("door", 1, Stage.DISPATCH, Reason.NEWER),
    ]
    assert made.replica_joined("r1", 4, 0.0) == [Assign("r1", (FrameKey("door", 2),))]


def test_newer_beats_a_frame_that_comes_again() -> None:
    """A live source's frame that comes back from a lost replica is not done where a newer one waits."""
    made = dispatcher("door", live=1.0)
    made.replica_joined("r1", 1, 0.0)
    take(made, "door", 0, 1)
    assert made.replica_lost("r1", 0.1) == [RecallFrame(FrameKey("door", 0))]
    assert take(made, "door", 0) == [dropped("door", 0, Stage.DISPATCH, Reason.NEWER)]


def test_a_recorded_source_waits() -> None:
    """Frames of a recorded source are kept, however many and however old."""
    made = dispatcher("file")
    assert take(made, "file", *range(20)) == []
    assert made.tick(1000.0) == []
    assert made.counts["file"].in_flight == 20


def test_expired_a_live_frame_that_is_too_old_is_not_inferred() -> None:
    """A live frame older than `max_age_s` when its turn comes is dropped instead of given away."""
    made = dispatcher("door", live=1.0)
    take(made, "door", 0, now_s=0.0)
    assert made.replica_joined("r1", 1, 1.5) == [dropped("door", 0, Stage.DISPATCH, Reason.EXPIRED)]


@pytest.mark.parametrize(("age_s", "is_late"), [(1.2, False), (1.4, True)])
def test_late_a_live_result_may_take_one_inference_longer(age_s: float, is_late: bool) -> None:
    """A live result older than `max_age_s` and its own inference time is dropped."""
    made = dispatcher("door", live=1.0)
    key = FrameKey("door", 0)
    made.replica_joined("r1", 1, 0.0)
    take(made, "door", 0)
    expected = dropped("door", 0, Stage.INFER, Reason.LATE) if is_late else End(key, None)
    assert made.result("r1", key, 0.3, age_s) == [expected]


def test_poison_a_frame_that_brings_down_two_replicas_is_dropped() -> None:
    """After the second loss in a row the frame is given to nobody else."""
    made = dispatcher("file")
    key = FrameKey("file", 0)
    made.replica_joined("r1", 1, 0.0)
    take(made, "file", 0)
    assert made.replica_lost("r1", 0.1) == [RecallFrame(key)]
    made.replica_joined("r2", 1, 0.2)
    assert take(made, "file", 0) == [Assign("r2", (key,))]
    assert made.failed("r2", key, 0.3) == [dropped("file", 0, Stage.INFER, Reason.POISON)]


def test_a_replica_that_leaves_blames_no_frame() -> None:
    """Frames of replicas that left properly go to others, as often as it happens."""
    made = dispatcher("file")
    key = FrameKey("file", 0)
    take(made, "file", 0)
    for number in range(5):
        assert made.replica_joined(f"r{number}", 1, 0.0) == [Assign(f"r{number}", (key,))]
        assert made.replica_left(f"r{number}", 0.0) == [RecallFrame(key)]
        assert take(made, "file", 0) == []
    assert made.redelivered == 5


def test_stopped_what_is_abandoned_ends_whatever_its_state() -> None:
    """Abandoning ends waiting, held and recalled frames alike, in order, and finishes a lane that has ended."""
    made = dispatcher("file")
    made.replica_joined("r1", 1, 0.0)
    take(made, "file", 0, 1)
    made.replica_left("r1", 0.1)
    made.replica_joined("r2", 1, 0.2)
    take(made, "file", 2)
    made.lane_ended("file")
    drops = [dropped("file", seq, Stage.DISPATCH, Reason.STOPPED) for seq in range(3)]
    assert made.abandon(["file"]) == [*drops, Finish("file")]
    assert made.result("r2", FrameKey("file", 1), 0.1, 0.3) == []


def test_frames_after_an_abandonment_are_taken_as_ever() -> None:
    """A live source that was abandoned while a frame waited goes on with its next one."""
    made = dispatcher("door", live=1.0)
    take(made, "door", 0)
    made.abandon(["door"])
    assert take(made, "door", 1) == []
    assert made.replica_joined("r1", 1, 0.0) == [Assign("r1", (FrameKey("door", 1),))]


def test_redone_frames_go_ahead_of_new_ones() -> None:
    """What comes back from a lost replica is handed out before anything else, in the order in which it came back."""
    made = dispatcher("file")
    made.replica_joined("r1", 2, 0.0)
    take(made, "file", 0, 1, 2, 3)
    made.replica_left("r1", 0.1)
    take(made, "file", 1, 0)
    assert made.replica_joined("r2", 3, 0.2) == [Assign("r2", (FrameKey("file", seq),)) for seq in (1, 0, 2)]


def test_frames_that_were_lost_with_a_replica_are_tried_alone() -> None:
    """Only the frame that brings down a second replica is poison: those beside it the first time are innocent."""
    made = dispatcher("file")
    made.replica_joined("r1", 3, 0.0)
    take(made, "file", 0, 1, 2)
    first, poison, last = (FrameKey("file", seq) for seq in range(3))
    made.replica_lost("r1", 0.1)
    take(made, "file", 0, 1, 2, 3)
    assert made.replica_joined("r2", 3, 0.2) == [Assign("r2", (first,))]
    assert made.result("r2", first, 0.1, 0.3) == [End(first, None), Assign("r2", (poison,))]
    assert made.replica_lost("r2", 0.4) == [dropped("file", 1, Stage.INFER, Reason.POISON)]
    assert made.replica_joined("r3", 3, 0.5) == [Assign("r3", (last,))]
    assert made.result("r3", last, 0.1, 0.6) == [End(last, None), Assign("r3", (FrameKey("file", 3),))]


def test_a_replica_is_emptied_for_a_frame_on_trial() -> None:
    """While a frame waits that was lost with a replica, nobody who has work is given more, and then it comes first."""
    made = dispatcher("file", "door")
    made.replica_joined("r1", 1, 0.0)
    made.replica_joined("r2", 2, 0.0)
    take(made, "file", 0, 1)
    take(made, "door", 0, 1)
    made.replica_lost("r1", 0.1)
    assert take(made, "file", 1) == []
    assert made.result("r2", FrameKey("file", 0), 0.1, 0.2) == [End(FrameKey("file", 0), None)]
    ended = made.result("r2", FrameKey("door", 0), 0.1, 0.3)
    assert ended == [End(FrameKey("door", 0), None), Assign("r2", (FrameKey("file", 1),))]


def test_a_full_batch_is_handed_out_at_once() -> None:
    """Frames of several sources fill a batch, in turn; what does not fill one waits, and it is told until when."""
    made = dispatcher("door", "gate")
    made.replica_joined("r1", 8, 0.0, 3)
    assert take(made, "door", 0, 1, now_s=1.0) == []
    assert made.due_s == 1.005
    together = tuple(FrameKey(name, seq) for name, seq in (("door", 0), ("gate", 0), ("door", 1)))
    assert take(made, "gate", 0, now_s=1.001) == [Assign("r1", together)]
    assert made.due_s is None
    assert take(made, "gate", 1, now_s=1.002) == []
    assert made.due_s == 1.007


def test_a_batch_is_not_waited_for_longer_than_set() -> None:
    """Once its oldest frame has waited long enough, a batch is handed out as it is."""
    made = dispatcher("door", "gate")
    made.replica_joined("r1", 8, 0.0, 4)
    take(made, "door", 0, now_s=1.0)
    take(made, "gate", 0, now_s=1.004)
    assert made.tick(1.0049) == []
    assert made.tick(1.005) == [Assign("r1", (FrameKey("door", 0), FrameKey("gate", 0)))]


def test_a_batch_is_of_one_size() -> None:
    """Frames of another size wait for their own batch, and keep their place in the line."""
    made = dispatcher("door", "gate")
    made.replica_joined("r1", 8, 0.0, 2)
    wide, high = (256, 456), (456, 256)
    assert made.frame_taken(FrameKey("gate", 0), 0.0, 0.0, high) == []
    assert made.frame_taken(FrameKey("door", 0), 0.0, 0.001, wide) == []
    together = (FrameKey("door", 0), FrameKey("door", 1))
    assert made.frame_taken(FrameKey("door", 1), 0.0, 0.002, wide) == [Assign("r1", together)]
    assert made.tick(0.005) == [Assign("r1", (FrameKey("gate", 0),))]


def test_a_batch_is_not_cut_to_the_room_that_is_left() -> None:
    """A replica with work in hand is given the next batch when it has room for all of it, so that batches stay full."""
    made = dispatcher("file")
    made.replica_joined("r1", 5, 0.0, 4)
    together = tuple(FrameKey("file", seq) for seq in range(4))
    assert take(made, "file", *range(8)) == [Assign("r1", together)]
    actions = [made.result("r1", key, 0.1, 0.1 + key.seq) for key in together]
    assert [len(action) for action in actions] == [1, 1, 2, 1]
    assert actions[2][1] == Assign("r1", tuple(FrameKey("file", seq) for seq in range(4, 8)))


def test_a_fast_live_source_waits_no_longer_than_others() -> None:
    """A newer frame takes the older one's place in time, so that a batch is not waited for again and again."""
    made = dispatcher("door", live=1.0)
    made.replica_joined("r1", 8, 0.0, 4)
    take(made, "door", 0, now_s=1.0)
    assert take(made, "door", 1, now_s=1.004) == [dropped("door", 0, Stage.DISPATCH, Reason.NEWER)]
    assert made.due_s == 1.005


def test_sources_take_turns() -> None:
    """A source with many waiting frames gets every other turn beside one with few."""
    made = dispatcher("file", "door")
    take(made, "file", 0, 1, 2, 3)
    take(made, "door", 0, 1)
    given = made.replica_joined("r1", 5, 0.0)
    assert [(a.keys[0].source, a.keys[0].seq) for a in given if isinstance(a, Assign)] == [
        ("file", 0),
        ("door", 0),
        ("file", 1),
        ("door", 1),
        ("file", 2),
    ]


def test_the_replica_with_most_room_is_served_first() -> None:
    """Frames spread over replicas by how much room each has."""
    made = dispatcher("file")
    made.replica_joined("small", 1, 0.0)
    made.replica_joined("big", 3, 0.0)
    given = take(made, "file", 0, 1, 2, 3, 4)
    assert [a.replica for a in given if isinstance(a, Assign)] == ["big", "big", "small", "big"]


@pytest.mark.parametrize(("is_loading", "patience_s"), [(False, 5.0), (True, 60.0)])
def test_a_silent_replica_is_lost_after_its_deadline(is_loading: bool, patience_s: float) -> None:
    """Silence up to the deadline is forgiven; while a replica loads the deadline is the longer one."""
    made = dispatcher("file")
    made.replica_joined("r1", 1, 0.0)
    take(made, "file", 0)
    made.replica_heard("r1", 0.0, is_loading=is_loading, credit=1)
    assert made.tick(patience_s) == []
    assert made.tick(patience_s + 0.1) == [RecallFrame(FrameKey("file", 0))]
    assert made.replicas == ()


def test_a_replica_that_was_given_up_is_back_with_its_next_heartbeat() -> None:
    """After the whole machine slept every replica seems silent; the first heartbeat brings each one back."""
    made = dispatcher("file")
    made.replica_joined("r1", 1, 0.0)
    take(made, "file", 0)
    made.tick(100.0)
    take(made, "file", 0)
    assert made.replica_heard("r1", 100.1, is_loading=False, credit=1) == [Assign("r1", (FrameKey("file", 0),))]


def test_a_frame_that_got_lost_on_the_way_is_handed_out_again() -> None:
    """What a replica was given long ago and says not to have is recalled, without blame and once; the rest stays."""
    made = dispatcher("file")
    made.replica_joined("r1", 3, 0.0)
    take(made, "file", 0, 1)
    take(made, "file", 2, now_s=3.0)
    first, second, third = (FrameKey("file", seq) for seq in range(3))
    assert made.replica_heard("r1", 5.0, is_loading=False, credit=3, held=[second]) == []
    assert made.replica_heard("r1", 5.1, is_loading=False, credit=3, held=[second]) == [RecallFrame(first)]
    assert made.replica_heard("r1", 5.2, is_loading=False, credit=3, held=[second]) == []
    assert take(made, "file", 0, now_s=5.3) == [Assign("r1", (first,))]
    assert set(made.replica_lost("r1", 5.4)) == {RecallFrame(first), RecallFrame(second), RecallFrame(third)}
    assert made.counts["file"].dropped.total() == 0


def test_a_replica_that_loads_anew_under_its_name_holds_nothing() -> None:
    """A replica started again says hello without credits: what its former life held goes to others."""
    made = dispatcher("file")
    made.replica_joined("r1", 1, 0.0)
    take(made, "file", 0)
    assert made.replica_joined("r1", 0, 1.0) == [RecallFrame(FrameKey("file", 0))]


def test_a_lane_goes_on_where_its_outputs_stopped() -> None:
    """A lane that follows one that died takes frames again from what its outputs hold, and counts them once."""
    made = dispatcher("file")
    made.replica_joined("r1", 8, 0.0)
    take(made, "file", 0, 1, 2)
    for seq in (0, 1):
        made.result("r1", FrameKey("file", seq), 0.1, 0.1)
    made.lane_joined("file", is_live=False, max_age_s=None, first_seq=1)
    assert made.counts["file"].taken == made.counts["file"].posed == 1
    assert take(made, "file", 1) == [Assign("r1", (FrameKey("file", 1),))]
    assert made.counts["file"].taken == 2


def test_a_lane_goes_back_over_any_number_of_frames() -> None:
    """Outputs without a line for each frame may hold nothing of the last hour; yet each frame of it counts once."""
    made = dispatcher("file")
    made.replica_joined("r1", 1, 0.0)
    undecodable = Drop(FrameKey("file", 0), Stage.DECODE, Reason.UNDECODABLE)
    made.frame_dropped(undecodable)
    for seq in range(1, 30_000):
        take(made, "file", seq)
        made.result("r1", FrameKey("file", seq), 0.1, 0.1)
    made.lane_joined("file", is_live=False, max_age_s=None, first_seq=10)
    counts = made.counts["file"]
    assert (counts.taken, counts.posed, counts.dropped, counts.in_flight) == (10, 9, {"decode/undecodable": 1}, 0)
    made.lane_joined("file", is_live=False, max_age_s=None, first_seq=0)
    assert made.counts["file"] == FrameCounts()


def test_a_dead_lanes_result_does_not_end_its_successors_frame() -> None:
    """A replica's report on a frame of the lane that died frees its credit and ends nothing."""
    made = dispatcher("file")
    made.replica_joined("r1", 1, 0.0)
    take(made, "file", 0)
    made.lane_joined("file", is_live=False, max_age_s=None, first_seq=0)
    take(made, "file", 0)
    key = FrameKey("file", 0)
    assert made.result("r1", key, 0.1, 0.1) == [Assign("r1", (key,))]
    assert made.result("r1", key, 0.1, 0.2) == [End(key, None)]


def test_what_is_not_the_next_frame_is_ignored() -> None:
    """Frames out of turn, of unknown sources, after the end, or said to be dropped twice change no count."""
    made = dispatcher("file")
    take(made, "file", 0)
    undecodable = Drop(FrameKey("file", 0), Stage.DECODE, Reason.UNDECODABLE)
    assert take(made, "file", 0, 2) + take(made, "nobody", 0) == []
    assert made.frame_dropped(undecodable) == []
    assert made.lane_ended("nobody") == []
    made.lane_ended("file")
    assert take(made, "file", 1) == []
    assert made.counts["file"].taken == 1
    assert made.ignored == 6


def test_its_repr_tells_what_waits_and_what_is_held() -> None:
    """A debugger sees how many frames wait and how many are with replicas."""
    made = dispatcher("file")
    made.replica_joined("r1", 1, 0.0)
    take(made, "file", 0, 1, 2)
    assert repr(made) == "<Dispatcher sources=1 waiting=2 <Replicas 1 held=1>>"


def test_a_live_frame_is_given_when_the_engine_begins_on_it() -> None:
    """A live source's frame waits until no more is held than the engine works on, and is the newest one by then."""
    made = dispatcher("door", "gate", live=1.0)
    made.replica_joined("r1", 4, 0.0, fresh=1)
    first, newest = FrameKey("door", 0), FrameKey("door", 2)
    assert take(made, "door", 0) == [Assign("r1", (first,))]
    assert take(made, "door", 1, 2) == [dropped("door", 1, Stage.DISPATCH, Reason.NEWER)]
    assert take(made, "gate", 0) == []
    assert made.result("r1", first, 0.1, 0.1) == [End(first, None), Assign("r1", (newest,))]


def test_a_recorded_source_keeps_its_credits_beside_a_live_one() -> None:
    """Recorded frames wait inside a replica as ever, but none goes ahead of a live one whose turn it is."""
    made = Dispatcher(SETTINGS)
    made.lane_joined("file", is_live=False, max_age_s=None)
    made.lane_joined("door", is_live=True, max_age_s=1.0)
    made.replica_joined("r1", 3, 0.0, fresh=1)
    assert take(made, "file", 0, 1) == [Assign("r1", (FrameKey("file", seq),)) for seq in range(2)]
    assert take(made, "door", 0) == take(made, "file", 2, 3) == []
    ended = [made.result("r1", FrameKey("file", seq), 0.1, 0.1)[1:] for seq in range(2)]
    given = [Assign("r1", (FrameKey(name, seq),)) for name, seq in (("door", 0), ("file", 2), ("file", 3))]
    assert ended == [[], given]


def test_a_batch_with_a_live_frame_begins_at_once() -> None:
    """A batch that holds a live source's frame is not put behind another one; a batch that is liked always fits."""
    made = dispatcher("door", "gate", live=1.0)
    made.replica_joined("r1", 8, 0.0, 2, fresh=1)
    pair = (FrameKey("door", 0), FrameKey("gate", 0))
    assert take(made, "door", 0) + take(made, "gate", 0) == [Assign("r1", pair)]
    assert take(made, "door", 1) + take(made, "gate", 1) == []
    assert made.result("r1", pair[0], 0.1, 0.1) == [End(pair[0], None)]
    ended = made.result("r1", pair[1], 0.1, 0.1)
    assert ended == [End(pair[1], None), Assign("r1", (FrameKey("door", 1), FrameKey("gate", 1)))]


def test_stopped_a_run_begins_on_no_more_live_frames() -> None:
    """At a stop what no engine has of a live source ends at once, what one has a little later; a recorded one waits."""
    made = Dispatcher(SETTINGS)
    made.lane_joined("file", is_live=False, max_age_s=None)
    made.lane_joined("door", is_live=True, max_age_s=None, keeps_newest=False)
    made.replica_joined("r1", 1, 0.0)
    take(made, "door", 0, 1)
    take(made, "file", 0)
    made.lane_ended("door")
    stopped = [dropped("door", seq, Stage.DISPATCH, Reason.STOPPED) for seq in range(3)]
    assert made.wind_down(1.0) == stopped[1:2]
    assert take(made, "door", 2) == []
    assert made.wind_down(1.5) == made.tick(1.9) == []
    assert made.tick(2.0) == [stopped[0], Finish("door")]
    # The replica works on it all the same, for nobody.
    assert made.result("r1", FrameKey("door", 0), 3.0, 4.0) == [Assign("r1", (FrameKey("file", 0),))]


def test_stopped_a_live_frame_that_its_replica_lost_is_not_asked_for_again() -> None:
    """After a stop a live source's frame ends with the replica that had it; a recorded one's is tried again."""
    made = Dispatcher(SETTINGS)
    made.lane_joined("file", is_live=False, max_age_s=None)
    made.lane_joined("door", is_live=True, max_age_s=1.0)
    made.replica_joined("r1", 2, 0.0)
    take(made, "file", 0)
    take(made, "door", 0)
    assert made.wind_down(0.1) == []
    lost = made.replica_lost("r1", 0.2)
    assert lost == [RecallFrame(FrameKey("file", 0)), dropped("door", 0, Stage.DISPATCH, Reason.STOPPED)]


def test_lost_a_live_frame_whose_lane_died_is_counted() -> None:
    """A lane that goes on with later numbers takes none again: what the dead one had in flight counts as lost."""
    made = dispatcher("door", live=1.0)
    made.replica_joined("r1", 1, 0.0)
    take(made, "door", 0, 1)
    made.lane_joined("door", is_live=True, max_age_s=1.0, first_seq=made.next_seq("door"))
    take(made, "door", 2)
    counts = made.counts["door"]
    assert (counts.taken, counts.posed, counts.in_flight, dict(counts.dropped)) == (3, 0, 1, {"dispatch/lost": 2})
    assert made.result("r1", FrameKey("door", 0), 0.1, 0.2)[0] == Assign("r1", (FrameKey("door", 2),))
    assert made.counts["door"].posed == 0


def test_lost_what_was_recalled_of_a_lane_that_is_gone_ends() -> None:
    """Nobody sends a frame again whose lane died for good, before the recall or after: it counts as lost."""
    made = dispatcher("door", live=1.0)
    made.replica_joined("r1", 1, 0.0)
    take(made, "door", 0)
    assert made.replica_lost("r1", 0.1) == [RecallFrame(FrameKey("door", 0))]
    made.replica_joined("r2", 1, 0.2)
    take(made, "door", 1)
    made.settle("door")
    assert made.replica_lost("r2", 0.3) == [dropped("door", 1, Stage.DISPATCH, Reason.LOST)]
    counts = made.counts["door"]
    assert (counts.taken, counts.in_flight, dict(counts.dropped)) == (2, 0, {"dispatch/lost": 2})
    made.forget("door")
    assert made.counts == {}


def test_nothing_is_kept_of_a_source_that_is_forgotten() -> None:
    """Sources come and go for months: with its last frame nothing of one is left; one with frames in flight stays."""
    made = dispatcher("door", "gate", live=1.0)
    made.replica_joined("r1", 1, 0.0)
    take(made, "door", 0)
    made.result("r1", FrameKey("door", 0), 0.01, 0.1)
    made.lane_ended("door")
    take(made, "gate", 0)
    for source in ("door", "gate", "nobody"):
        made.forget(source)
    assert list(made.counts) == ["gate"]
    assert made.result("r1", FrameKey("gate", 0), 0.01, 0.1) == [End(FrameKey("gate", 0), None)]
    assert made._waiting._new == {}  # what is held, which nothing else tells
