"""What is done, and told, about replicas that fail, hang or go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from posestream.models.errors import EngineError
from posestream.pipeline.dispatch.in_flight import ReplicaState
from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.errors import HungError
from posestream.pipeline.supervision.handles import ReplicaHandle
from posestream.pipeline.supervision.patience import Patience
from posestream.pipeline.supervision.replica_watch import ReplicaWatch
from posestream.pipeline.supervision.restarts import Restarts
from posestream.pipeline.supervision.slot import Slot

COME_BACK_S, LEAVE_S = 1.0, 20.0


class Dispatch:
    """A dispatcher that knows those replicas that it is told."""

    def __init__(self, *replicas: str) -> None:
        self.replicas = replicas
        self.lost: list[str] = []

    def has_met(self, replica: str) -> bool:
        return replica.startswith("replica-")

    @property
    def views(self) -> list[Any]:
        return [SimpleNamespace(name=name, credits=2, state=ReplicaState.BUSY) for name in self.replicas]

    def lose(self, replica: str) -> None:
        self.lost.append(replica)


def replica(*, is_killable: bool) -> Any:
    """Make a replica that lives whatever is done to it."""
    made = SimpleNamespace(name="replica-0", is_alive=True, is_killable=is_killable, error=None, kills=0)
    made.start = lambda: None
    made.join = lambda _deadline_s: not made.is_alive

    def kill() -> None:
        made.kills += 1

    made.kill = kill
    return made


def watching(dispatch: Dispatch, *parts: Any) -> tuple[ReplicaWatch, list[Slot[ReplicaHandle]]]:
    """Watch these replicas."""
    slots = [Slot(part.name, lambda _generation, part=part: cast(ReplicaHandle, part), Restarts()) for part in parts]
    return ReplicaWatch(slots, cast(DispatchLoop, dispatch), Patience(come_back_s=COME_BACK_S, leave_s=LEAVE_S)), slots


@pytest.mark.parametrize(
    ("is_killable", "end"), [(True, "it is killed"), (False, "it is to leave as soon as its engine lets it")]
)
def test_a_replica_that_hangs_is_told_of_once(caplog: pytest.LogCaptureFixture, is_killable: bool, end: str) -> None:
    """One that does not come back is ended again and again, with one line; a thread is not called killed."""
    hung = replica(is_killable=is_killable)
    watch, _ = watching(Dispatch(), hung)
    for now_s in (0.0, COME_BACK_S, 1.5, 2.0, 2.5):
        watch.watch(now_s, is_stopping=False)
    assert hung.kills == 3
    assert caplog.messages == [f"replica-0 hangs; {end}"]


@pytest.mark.parametrize("is_killable", [True, False])
def test_the_place_of_a_thread_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture, is_killable: bool) -> None:
    """One that does not leave has no successor, and a line says what hangs; a process is killed and has one."""
    hung = replica(is_killable=is_killable)
    hung.error = HungError("the inference of frame 3 of door has not ended for 31 s")
    watch, (slot,) = watching(Dispatch(), hung)
    for now_s in (0.0, LEAVE_S, LEAVE_S + 1.0, LEAVE_S + 2.0):
        watch.watch(now_s, is_stopping=False)
    assert slot.is_exhausted is not is_killable
    given_up = f"replica-0 hangs: {hung.error}; it is given up"
    assert caplog.messages.count(given_up) == int(not is_killable)


def test_one_that_comes_back_is_left_alone_and_told_of_anew(caplog: pytest.LogCaptureFixture) -> None:
    """Heard again, a replica begins with the whole patience; when it hangs another time, that is told too."""
    hung, dispatch = replica(is_killable=False), Dispatch()
    watch, _ = watching(dispatch, hung)
    for now_s in (0.0, 1.5):
        watch.watch(now_s, is_stopping=False)
    dispatch.replicas = ("replica-0",)
    watch.watch(2.0, is_stopping=False)
    dispatch.replicas = ()
    for now_s in (2.5, 3.0, 4.0):
        watch.watch(now_s, is_stopping=False)
    assert (hung.kills, len(caplog.messages)) == (2, 2)


def test_one_that_cannot_load_is_given_up_and_one_that_died_follows() -> None:
    """An engine that is not there would not come with a successor; any other end has one, and frames are taken back."""
    unable, dead = replica(is_killable=True), replica(is_killable=True)
    unable.is_alive = dead.is_alive = False
    unable.error = EngineError("no such device")
    dispatch = Dispatch()
    watch, (first, second) = watching(dispatch, unable, dead)
    watch.watch(0.0, is_stopping=False)
    assert (first.is_exhausted, first.error) == (True, unable.error)
    assert (second.is_exhausted, second.is_waiting) == (False, True)
    assert dispatch.lost == ["replica-0", "replica-0"]


def test_a_head_without_replicas_tells_once_that_it_waits_again(caplog: pytest.LogCaptureFixture) -> None:
    """The last worker's going is told once for each time, and not before the first one, nor while a run stops."""
    dispatch = Dispatch()
    watch, _ = watching(dispatch)
    for workers, is_stopping in (((), False), (("w",), False), ((), False), ((), False), (("w",), False), ((), True)):
        dispatch.replicas = workers
        watch.watch(0.0, is_stopping=is_stopping)
    assert caplog.messages == ["the last worker has gone; waiting for workers again"]


def ending(name: str, description: str) -> Any:
    """Make a replica that ends whatever it is told, and notes what that was."""
    made = SimpleNamespace(name=name, description=description, is_alive=True, is_killable=False, told=[])
    made.start = lambda: None

    def told(word: str) -> None:
        made.told.append(word)
        made.is_alive = False

    made.stop, made.kill = (lambda: told("stop")), (lambda: told("kill"))
    made.join = lambda _deadline_s: not made.is_alive
    return made


def test_only_who_is_ready_and_idle_may_leave_in_its_own_time() -> None:
    """At the end a replica that waits is asked to leave; one that works in vain, or still loads, is killed."""
    idle, busy, loading = ending("idle", "an engine"), ending("replica-0", "an engine"), ending("loading", "")
    watch, _ = watching(Dispatch("replica-0"), idle, busy, loading)
    assert watch.end(0.0)
    assert [idle.told, busy.told, loading.told] == [["stop"], ["kill"], ["kill"]]
    assert not watch.has_left


def test_a_thread_that_still_loads_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """One that no order reaches while it loads is told of, and its sockets are not waited for."""
    caplog.set_level("INFO")
    loading = ending("replica-0", "")
    loading.kill = lambda: None
    watch = ReplicaWatch(
        [Slot("replica-0", lambda _: cast(ReplicaHandle, loading), Restarts())],
        cast(DispatchLoop, Dispatch()),
        Patience(load_s=0.0),
    )
    assert watch.end(0.0)
    assert (watch.has_left, caplog.messages) == (True, ["replica-0 still loads; it is not waited for"])


def test_work_has_begun_once_a_replica_was_ready() -> None:
    """A stop waits for replicas only if one of them was ready before, or a worker takes frames now."""
    first, dispatch = ending("replica-0", ""), Dispatch()
    watch, (slot,) = watching(dispatch, first)
    assert not watch.has_begun
    dispatch.replicas = ("worker",)
    assert watch.has_begun
    dispatch.replicas = ()
    slot.fail(0.0, RuntimeError("it died"))
    assert watch.has_begun
