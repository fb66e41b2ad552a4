"""A replica with a fake engine, seen from the dispatcher's end of its socket."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import zmq

from posestream.models.engines.base import Engine
from posestream.models.engines.fake import FakeEngine
from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec
from posestream.pipeline.errors import HeadError, HungError, OtherHeadError
from posestream.pipeline.replica import infer_loop as infer_loop_module
from posestream.pipeline.replica.replica import Replica
from posestream.pipeline.replica.serving import Serving
from posestream.pipeline.wire.convert import poses_of
from posestream.pipeline.wire.envelope import Envelope
from posestream.pipeline.wire.messages import (
    Failed,
    Heard,
    Heartbeat,
    Message,
    ReplicaBye,
    ReplicaHello,
    Result,
    Stop,
    Task,
    Work,
)
from posestream.pipeline.wire.sockets import Sockets, receive_from, send_to
from posestream.stages.ensemble import Ensemble, EnsembleSettings
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.items import FieldMaps, FrameKey, Poses

#: Nothing here takes longer.
DEADLINE_S = 60.0
HEIGHT, WIDTH = 64, 88
#: Whom the replica serves.
HEAD = "head"


def task(seq: int, **changes: Any) -> Task:
    """Make a task of a small picture."""
    return dataclasses.replace(Task("door", seq, 0.0, HEIGHT, WIDTH, 1.0, 1.0, WIDTH, HEIGHT), **changes)


class Desk:
    """The dispatcher's place: starts a replica, gives it work, and hears it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec) -> None:
        self._context = context
        self._spec = spec
        self._sockets = Sockets(context)
        self._socket = self._sockets.open(zmq.ROUTER, bind="inproc://desk")
        self.replica: Replica | None = None
        self.beats = 0

    def start(
        self,
        open_engine: Callable[[], Engine],
        group: Callable[..., Any] | None = None,
        seen: EnsembleSettings | None = None,
        hang_s: float = 60.0,
        patience_s: float = math.inf,
    ) -> Replica:
        """Start a replica with this engine."""
        grouping = group or Group(self._spec.layout, GroupSettings())
        spec = self._spec
        ensemble = Ensemble(spec.layout, spec.stride, spec.input.multiple, seen)
        serving = SimpleNamespace(
            opener=open_engine, group=lambda: grouping, ensemble=lambda: ensemble, spec=spec, hang_s=hang_s
        )
        self.replica = Replica(
            "r1", HEAD, self._context, "inproc://desk", cast(Serving, serving), lambda: None, patience_s
        )
        self.replica.start()
        return self.replica

    def hear(self) -> Envelope:
        """Wait for the next message that is no heartbeat."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            if self._socket.poll(1000):
                peer, envelope = receive_from(self._socket)
                assert peer == "r1"
                if not isinstance(envelope.message, Heartbeat):
                    return envelope
                self.beats += 1
        raise AssertionError(f"nothing came from {self.replica!r}")

    def expect(self, kind: type[Message]) -> Any:
        """Wait for the next message, which must be of this kind."""
        message = self.hear().message
        assert type(message) is kind, message
        return message

    def give(self, *tasks: Task) -> None:
        """Give frames, one message each."""
        for one in tasks:
            self.give_together(one)

    def give_together(self, *tasks: Task) -> None:
        """Give frames in one message."""
        images = [np.zeros((one.height, one.width, 3), np.uint8) for one in tasks]
        assert send_to(self._socket, "r1", Work(tasks), images)

    def send(self, message: Message, *payloads: bytes) -> None:
        """Send anything."""
        assert send_to(self._socket, "r1", message, payloads)

    def ready(self) -> ReplicaHello:
        """Wait until the replica asks for work."""
        assert self.expect(ReplicaHello).credits == 0
        return cast(ReplicaHello, self.expect(ReplicaHello))

    def close(self) -> None:
        """End the replica."""
        if self.replica is not None:
            self.replica.stop()
            assert self.replica.join(time.monotonic() + DEADLINE_S)
        self._sockets.__exit__()


class ManualEngine(FakeEngine):
    """Ends inferences when it is told to, and tells when one has begun."""

    def __init__(self, spec: NetworkSpec, capacity: int = 2, batch: int = 1) -> None:
        super().__init__(spec, capacity=capacity, batch=batch, is_manual=True)
        self._submitted = threading.Semaphore(0)
        self.most_running = 0

    def submit(self, tickets: Sequence[int], images: Sequence[np.ndarray]) -> None:
        super().submit(tickets, images)
        self.most_running = max(self.most_running, len(self.running))
        self._submitted.release()

    def wait_for_submission(self) -> None:
        """Wait for one more inference."""
        assert self._submitted.acquire(timeout=DEADLINE_S)


@pytest.fixture
def desk(context: zmq.Context[zmq.Socket[bytes]], spec: NetworkSpec) -> Iterator[Desk]:
    """The dispatcher's end; the replica ends with the test."""
    made = Desk(context, spec)
    yield made
    made.close()


def test_it_says_hello_while_it_loads_and_then_asks_for_work(desk: Desk, spec: NetworkSpec) -> None:
    """A replica gives no credit while it opens its engine, then as many as its engine takes and a few that wait."""
    engine = FakeEngine(spec, capacity=3)
    replica = desk.start(lambda: engine)
    hello = desk.ready()
    assert (hello.replica, hello.description) == ("r1", "fake engine")
    assert hello.credits == 3 + 2
    assert replica.description == "fake engine"


def test_a_frame_comes_back_with_its_people(desk: Desk, spec: NetworkSpec) -> None:
    """A frame's result carries its key, how long it took, and payloads that are people."""
    desk.start(lambda: FakeEngine(spec, elapsed_s=0.25))
    desk.ready()
    desk.give(task(7))
    desk.expect(ReplicaHello)  # again, now that it has compiled
    envelope = desk.hear()
    assert isinstance(envelope.message, Result)
    posed = envelope.message.posed
    assert (posed.source, posed.seq, posed.infer_s, posed.keypoints) == ("door", 7, 0.25, 18)
    assert posed.group_s >= 0
    assert poses_of(posed, envelope.payloads).people == ()


def test_it_never_submits_more_than_its_engine_takes(desk: Desk, spec: NetworkSpec) -> None:
    """Frames beyond the engine's capacity wait, and follow in their order as others finish."""
    engine = ManualEngine(spec, capacity=2)
    desk.start(lambda: engine)
    desk.ready()
    desk.give(*(task(seq) for seq in range(5)))
    desk.expect(ReplicaHello)
    done = []
    for _ in range(5):
        engine.wait_for_submission()
        engine.finish()
        done.append(desk.expect(Result).posed.seq)
    assert done == [0, 1, 2, 3, 4]
    assert engine.most_running == 2


def test_a_new_shape_is_prepared_and_told(desk: Desk, spec: NetworkSpec) -> None:
    """Before each new input shape the replica says that it loads, and afterwards how much it takes."""
    engine = FakeEngine(spec)
    desk.start(lambda: engine)
    desk.ready()
    desk.give(task(0), task(1))
    assert [type(desk.hear().message) for _ in range(3)] == [ReplicaHello, Result, Result]
    assert engine.prepared == [(HEIGHT, WIDTH)]
    assert desk.beats >= 1


def test_a_failed_inference_is_told_and_the_next_goes_on(desk: Desk, spec: NetworkSpec) -> None:
    """What the engine could not do goes back as failed, with the reason; the replica works on."""
    engine = ManualEngine(spec)
    desk.start(lambda: engine)
    desk.ready()
    desk.give(task(0), task(1))
    desk.expect(ReplicaHello)
    engine.wait_for_submission()
    engine.wait_for_submission()
    engine.fail("out of memory")
    failed = desk.expect(Failed)
    assert (failed.source, failed.seq) == ("door", 0)
    assert "out of memory" in failed.error
    engine.finish()
    assert desk.expect(Result).posed.seq == 1


def test_a_picture_that_the_engine_refuses_is_told(desk: Desk, spec: NetworkSpec) -> None:
    """An engine that refuses a picture at submission does not bring its replica down."""

    class Choosy(FakeEngine):
        def submit(self, tickets: Sequence[int], images: Sequence[np.ndarray]) -> None:
            if 0 in tickets:
                raise EngineError("not this one")
            super().submit(tickets, images)

    desk.start(lambda: Choosy(spec))
    desk.ready()
    desk.give(task(0), task(1))
    desk.expect(ReplicaHello)
    assert desk.expect(Failed).error == "not this one"
    assert desk.expect(Result).posed.seq == 1


def test_a_mirrored_and_scaled_frame_is_one_result(desk: Desk, spec: NetworkSpec) -> None:
    """A frame that is seen four times gives one result, after its last inference, and fewer frames fill the engine."""
    engine = ManualEngine(spec, capacity=4)
    desk.start(lambda: engine, seen=EnsembleSettings(flip=True, scales=(1.0, 0.5)))
    assert desk.ready().credits == 1 + 2
    desk.give(task(0), task(1))
    desk.expect(ReplicaHello)
    desk.expect(ReplicaHello)  # for the smaller size
    for _ in range(4):
        engine.wait_for_submission()
    assert engine.prepared == [(HEIGHT, WIDTH), (HEIGHT // 2, 48)]
    engine.finish(4)
    assert desk.expect(Result).posed.seq == 0
    for _ in range(4):
        engine.wait_for_submission()
        engine.finish()
    assert desk.expect(Result).posed.seq == 1
    assert engine.most_running == 4


def test_a_view_that_fails_is_its_frames_failure_once(desk: Desk, spec: NetworkSpec) -> None:
    """Where several of a frame's inferences fail, the frame has failed once; no more of it is begun."""
    engine = ManualEngine(spec, capacity=2)
    desk.start(lambda: engine, seen=EnsembleSettings(flip=True, scales=(1.0, 0.5)))
    desk.ready()
    desk.give(task(0), task(1))
    desk.expect(ReplicaHello)
    for reason in ("first", "second"):
        engine.wait_for_submission()
        engine.fail(reason)
    assert desk.expect(Failed).error == "first"
    for _ in range(4):
        engine.wait_for_submission()
        engine.finish()
    desk.expect(ReplicaHello)  # for the other frame's smaller size
    assert desk.expect(Result).posed.seq == 1


def test_frames_of_one_size_are_inferred_together(desk: Desk, spec: NetworkSpec) -> None:
    """A batch is of one size, in the frames' order, and no larger than the engine likes, however the frames came."""
    engine = ManualEngine(spec, capacity=3, batch=2)
    desk.start(lambda: engine)
    hello = desk.ready()
    assert (hello.batch, hello.credits) == (2, 4 + 2)
    desk.give_together(task(0), task(1), task(2))
    desk.expect(ReplicaHello)
    engine.wait_for_submission()
    engine.wait_for_submission()
    assert engine.begun == [(0, 1), (2,)]
    # The engine has no room, so these wait for each other.
    desk.give(task(3), task(4), task(5, width=WIDTH + 8))
    engine.finish()
    assert {desk.expect(Result).posed.seq for _ in range(2)} == {0, 1}
    engine.wait_for_submission()
    assert engine.begun[2:] == [(3, 4)]
    engine.finish()
    engine.wait_for_submission()
    assert {type(desk.hear().message) for _ in range(2)} == {Result, ReplicaHello}
    assert engine.begun[3:] == [(5,)]
    engine.finish(2)
    assert {desk.expect(Result).posed.seq for _ in range(3)} == {3, 4, 5}


def test_frames_that_failed_together_are_tried_alone(desk: Desk, spec: NetworkSpec) -> None:
    """One frame of a batch that cannot be done is that frame's failure; the others' people are found."""
    engine = ManualEngine(spec, capacity=6, batch=3)
    desk.start(lambda: engine)
    desk.ready()
    desk.give_together(task(0), task(1), task(2))
    desk.expect(ReplicaHello)
    engine.wait_for_submission()
    engine.fail("out of memory")
    for _ in range(3):
        engine.wait_for_submission()
    assert engine.begun == [(0, 1, 2), (3,), (4,), (5,)]
    engine.finish()
    assert desk.expect(Result).posed.seq == 0
    engine.fail("not this one")
    assert desk.expect(Failed) == Failed("r1", HEAD, "door", 1, "not this one")
    engine.finish()
    assert desk.expect(Result).posed.seq == 2


def test_a_mirrored_and_scaled_batch_goes_view_by_view(desk: Desk, spec: NetworkSpec) -> None:
    """Frames that are seen several times are inferred together in each view, so that batches are full."""
    engine = ManualEngine(spec, capacity=4, batch=2)
    desk.start(lambda: engine, seen=EnsembleSettings(flip=True, scales=(1.0, 0.5)))
    assert desk.ready().credits == 2 + 2
    desk.give_together(task(0), task(1))
    for _ in range(4):
        engine.wait_for_submission()
        engine.finish()
    assert engine.begun == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert [type(desk.hear().message) for _ in range(2)] == [ReplicaHello] * 2  # one for each size
    assert {desk.expect(Result).posed.seq for _ in range(2)} == {0, 1}


def test_a_failed_view_of_a_batch_is_done_anew_for_each_frame(desk: Desk, spec: NetworkSpec) -> None:
    """Where one view of a batch fails, its frames begin again one by one; what comes of the old views is left out."""
    engine = ManualEngine(spec, capacity=4, batch=2)
    desk.start(lambda: engine, seen=EnsembleSettings(flip=True))
    desk.ready()
    desk.give_together(task(0), task(1))
    desk.expect(ReplicaHello)
    engine.wait_for_submission()
    engine.wait_for_submission()
    engine.fail("the first view")
    engine.finish()
    for _ in range(4):
        engine.wait_for_submission()
        engine.finish()
    assert engine.begun == [(0, 1), (2, 3), (4,), (5,), (6,), (7,)]
    assert [desk.expect(Result).posed.seq for _ in range(2)] == [0, 1]


@pytest.mark.parametrize("payloads", [[b"short"], [], [bytes(HEIGHT * WIDTH * 3)] * 2])
def test_work_that_does_not_fit_is_given_back(desk: Desk, spec: NetworkSpec, payloads: list[bytes]) -> None:
    """A picture of another size than its task says, or none, is the frame's failure and not the replica's."""
    desk.start(lambda: FakeEngine(spec))
    desk.ready()
    desk.send(Work((task(3),)), *payloads)
    assert desk.expect(Failed).seq == 3
    desk.give(task(4))
    desk.expect(ReplicaHello)
    assert desk.expect(Result).posed.seq == 4


def test_an_engine_that_does_not_open_is_a_farewell(desk: Desk) -> None:
    """A replica without an engine says goodbye, says why, and keeps the error for the supervisor."""
    error = EngineError("no such device")

    def fail() -> Engine:
        raise error

    replica = desk.start(fail)
    assert desk.expect(ReplicaHello).credits == 0
    assert desk.expect(ReplicaBye) == ReplicaBye("r1", HEAD, True, "no such device")
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert replica.error is error
    assert not replica.is_alive


@pytest.mark.parametrize("by_message", [True, False])
def test_a_stop_finishes_what_it_holds(desk: Desk, spec: NetworkSpec, by_message: bool) -> None:
    """Told to stop by either side, a replica first gives back what it has, then leaves without blame."""
    engine = ManualEngine(spec, capacity=1)
    replica = desk.start(lambda: engine)
    desk.ready()
    desk.give(task(0), task(1))
    desk.expect(ReplicaHello)
    if by_message:
        desk.send(Stop())
    else:
        replica.stop()
    for seq in range(2):
        engine.wait_for_submission()
        engine.finish()
        assert desk.expect(Result).posed.seq == seq
    assert desk.expect(ReplicaBye) == ReplicaBye("r1", HEAD, False, "")
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert replica.error is None
    assert engine.is_closed


def test_it_beats_while_idle_and_while_its_engine_works(
    desk: Desk, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats come from the work loop itself, whether it has work or not, and tell what it has."""
    monkeypatch.setattr(infer_loop_module, "_HEARTBEAT_S", 0.0)
    monkeypatch.setattr(infer_loop_module, "_POLL_MS", 1)
    engine = ManualEngine(spec)
    desk.start(lambda: engine)
    hello = desk.ready()
    assert hear_beats(desk, 3) == [Heartbeat("r1", HEAD, False, hello.credits, 1, hello.fresh)] * 3
    desk.give(task(0))
    engine.wait_for_submission()
    held = next(beat.held for _ in range(10_000) for beat in hear_beats(desk, 1) if beat.held)
    assert held == (FrameKey("door", 0),)
    engine.finish()
    while not isinstance(desk.hear().message, Result):
        pass


def test_a_grouping_that_stops_ends_the_replica(desk: Desk, spec: NetworkSpec) -> None:
    """A replica whose grouping has an error does not hold its frames for ever: it leaves, and the error is told."""

    def broken(_maps: object) -> None:
        raise ZeroDivisionError("in grouping")

    replica = desk.start(lambda: FakeEngine(spec), broken)
    desk.ready()
    desk.give(task(0))
    desk.expect(ReplicaHello)
    assert desk.expect(ReplicaBye).has_failed
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert isinstance(replica.error, ZeroDivisionError)


def hear_beats(desk: Desk, count: int) -> list[Heartbeat]:
    """Wait for so many heartbeats."""
    beats: list[Heartbeat] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while len(beats) < count:
        assert time.monotonic() < deadline_s
        if desk._socket.poll(1000):
            message = receive_from(desk._socket)[1].message
            if isinstance(message, Heartbeat) and not message.is_loading:
                beats.append(message)
    return beats


@pytest.mark.parametrize(("elapsed_s", "fresh"), [(0.01, 2), (3.0, 1)])
def test_live_frames_wait_inside_for_brief_inferences_only(
    desk: Desk, spec: NetworkSpec, elapsed_s: float, fresh: int
) -> None:
    """Of live sources it holds what its engine begins on at once, and once inferences prove brief the next ones too."""

    class Serial(FakeEngine):
        @property
        def at_once(self) -> int:
            return 1

    desk.start(lambda: Serial(spec, elapsed_s=elapsed_s))
    assert desk.ready().fresh == 1
    desk.give(task(0))
    told = [desk.hear().message for _ in range(3 if fresh > 1 else 2)]
    hellos = [message.fresh for message in told if isinstance(message, ReplicaHello)]
    # One when the picture's size was compiled for, one when it was known how long an inference takes.
    assert hellos == ([1, 2] if fresh > 1 else [1])


def test_given_up_it_leaves_with_work_in_hand(desk: Desk, spec: NetworkSpec) -> None:
    """A replica whose work nobody wants does not wait for the inferences that it has not begun on."""
    engine = FakeEngine(spec, is_manual=True)
    replica = desk.start(lambda: engine)
    desk.ready()
    desk.give(*(task(seq) for seq in range(4)))
    desk.expect(ReplicaHello)
    replica.kill()
    assert desk.expect(ReplicaBye) == ReplicaBye("r1", HEAD, False, "")
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert engine.is_closed


def test_it_gives_up_what_it_holds_for_a_head_that_has_gone(desk: Desk, spec: NetworkSpec) -> None:
    """Heard by another head than its own, a replica leaves at once with work in hand, and says why."""
    engine = ManualEngine(spec)
    replica = desk.start(lambda: engine)
    desk.ready()
    desk.give(task(0))
    desk.expect(ReplicaHello)
    engine.wait_for_submission()
    desk.send(Heard(HEAD))
    desk.send(Heard("another"))
    assert desk.expect(ReplicaBye).head == HEAD
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert isinstance(replica.error, OtherHeadError)


class LeapingTime:
    """The work loop's clock, which goes on in leaps as well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.leapt_s = 0.0
        #: How much further each question for the time puts it.
        self.step_s = 0.0
        monkeypatch.setattr(infer_loop_module, "time", self)

    def monotonic(self) -> float:
        self.leapt_s += self.step_s
        return time.monotonic() + self.leapt_s


@pytest.mark.parametrize("when", ["opening", "stopped"])
def test_silence_of_the_head_while_nobody_listened_is_none(
    desk: Desk, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """An engine that takes long to open, or a stop of the whole process, is not taken for a head that has gone."""
    monkeypatch.setattr(infer_loop_module, "_HEARTBEAT_S", 0.0)
    monkeypatch.setattr(infer_loop_module, "_POLL_MS", 1)
    clock = LeapingTime(monkeypatch)

    def open_engine() -> Engine:
        clock.leapt_s += 1000 * (when == "opening")
        return FakeEngine(spec)

    replica = desk.start(open_engine, patience_s=DEADLINE_S)
    desk.ready()
    clock.leapt_s += 1000 * (when == "stopped")
    hear_beats(desk, 3)
    assert replica.error is None


def test_it_leaves_a_head_that_is_silent_for_too_long(
    desk: Desk, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that nobody answers, while it listens, says goodbye and ends with an error."""
    monkeypatch.setattr(infer_loop_module, "_HEARTBEAT_S", 0.0)
    monkeypatch.setattr(infer_loop_module, "_POLL_MS", 1)
    clock = LeapingTime(monkeypatch)
    replica = desk.start(lambda: FakeEngine(spec), patience_s=1)
    desk.ready()
    clock.step_s = 0.5
    assert desk.expect(ReplicaBye).has_failed
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert isinstance(replica.error, HeadError)


def test_a_replica_whose_engine_hangs_leaves_and_names_the_frame(
    desk: Desk, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inference that never ends makes the replica say goodbye as failed, before its engine lets it be closed."""
    monkeypatch.setattr(infer_loop_module, "_HEARTBEAT_S", 0.02)
    may_close = threading.Event()

    class Stuck(ManualEngine):
        def close(self) -> None:
            assert may_close.wait(DEADLINE_S)
            super().close()

    engine = Stuck(spec)
    replica = desk.start(lambda: engine, hang_s=0.3)
    desk.ready()
    desk.give(task(0), task(1))
    desk.expect(ReplicaHello)
    engine.wait_for_submission()
    engine.finish()
    assert desk.expect(Result).posed.seq == 0
    bye = desk.expect(ReplicaBye)
    assert bye.has_failed
    assert bye.error.startswith("the inference of frame 1 of door has not ended for")
    assert replica.is_alive
    may_close.set()
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert replica.hangs
    assert isinstance(replica.error, HungError)


def test_a_replica_whose_grouping_hangs_leaves_and_names_the_frame(
    desk: Desk, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grouping that never ends is found as well, although the work loop goes round."""
    monkeypatch.setattr(infer_loop_module, "_HEARTBEAT_S", 0.02)
    may_end = threading.Event()

    def stuck(maps: FieldMaps) -> Poses:
        assert may_end.wait(DEADLINE_S)
        return Poses(maps.key, ())

    replica = desk.start(lambda: FakeEngine(spec), stuck, hang_s=0.3)
    desk.ready()
    desk.give(task(0))
    desk.expect(ReplicaHello)
    bye = desk.expect(ReplicaBye)
    assert bye.has_failed
    assert bye.error.startswith("the grouping of frame 0 of door has not ended for")
    may_end.set()
    assert replica.join(time.monotonic() + DEADLINE_S)
    assert isinstance(replica.error, HungError)
