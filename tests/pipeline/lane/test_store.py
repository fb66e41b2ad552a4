"""A lane's frames in flight."""

from __future__ import annotations

import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from posestream.pipeline.lane.store import FrameStore
from posestream.stages.items import Frame, FrameKey, NetInput, Poses, Transform
from posestream.stages.output.sink import Ended
from posestream.stages.picture import ArrayPicture

#: Nothing here takes longer.
DEADLINE_S = 30.0


def frame(seq: int) -> Frame:
    """Make a frame with a picture."""
    picture = ArrayPicture(np.zeros((4, 6, 3), np.uint8))
    return Frame(FrameKey("door", seq), 0, seq, Fraction(1, 10), 0.0, 0.0, 6, 4, picture)


def net_input(seq: int) -> NetInput:
    """Make a network input."""
    return NetInput(FrameKey("door", seq), np.zeros((8, 8, 3), np.uint8), Transform(1.0, 1.0, 6, 4))


def ended(seq: int) -> Ended:
    """Tell of a frame without people."""
    return Ended(frame(seq), Poses(FrameKey("door", seq), ()), {})


def test_it_has_room_until_it_is_full() -> None:
    """There is room for as many frames as it holds, and again after a release."""
    store = FrameStore(2)
    for seq in range(2):
        assert store.wait_for_room(0)
        store.put(frame(seq))
    assert not store.wait_for_room(0)
    assert repr(store) == "<FrameStore 2/2>"
    store.release(0)
    assert store.wait_for_room(0)
    assert len(store) == 1


def test_a_release_wakes_who_waits_for_room() -> None:
    """The source's thread goes on as soon as an output lets a frame go."""
    store = FrameStore(1)
    store.put(frame(0))
    had_room: list[bool] = []
    waiter = threading.Thread(target=lambda: had_room.append(store.wait_for_room(DEADLINE_S)))
    waiter.start()
    store.release(0)
    waiter.join(DEADLINE_S)
    assert had_room == [True]


@pytest.mark.parametrize("keep", [True, False])
def test_pictures_are_kept_only_if_somebody_will_look(keep: bool) -> None:
    """Once the network input is there, the picture stays for renderers only; the rest of the frame stays always."""
    store = FrameStore(1)
    store.put(frame(0))
    store.keep_input(0, net_input(0), keep_picture=keep)
    assert (store.frame(0).picture is not None) == keep
    assert store.frame(0).key == FrameKey("door", 0)
    found = store.to_send(0)
    assert found is not None
    assert (found[0], found[1].key) == (store.frame(0), FrameKey("door", 0))


def test_a_picture_of_which_nothing_can_be_made_is_let_go() -> None:
    """The frame stays to be told of, without its picture."""
    store = FrameStore(1)
    store.put(frame(0))
    store.drop_picture(0)
    assert store.frame(0).picture is None
    assert store.to_send(0) is None


def test_a_frame_that_ended_is_not_sent_again() -> None:
    """The network input is let go when the frame ends, and is None for a frame that was released."""
    store = FrameStore(1)
    store.put(frame(0))
    store.keep_input(0, net_input(0), keep_picture=True)
    told = ended(0)
    store.end(told)
    assert store.to_send(0) is None
    assert store.ended(0) is told
    store.release(0)
    assert store.to_send(0) is None


def test_what_has_not_ended_has_no_ending() -> None:
    """Asking too early is an error of the caller's, not None."""
    store = FrameStore(1)
    store.put(frame(0))
    with pytest.raises(KeyError, match="has not ended"):
        store.ended(0)


def test_the_newest_waits_for_its_turn() -> None:
    """Where the newest wins, a frame follows when the one before was begun, has ended, or has waited for long."""
    clock = [10.0]
    store = FrameStore(5, lambda: clock[0])
    assert store.wait_for_turn(1.0, 0)
    store.put(frame(0))
    assert not store.wait_for_turn(1.0, 0)
    store.begin(0)
    assert store.wait_for_turn(1.0, 0)
    store.put(frame(1))
    assert not store.wait_for_turn(1.0, 0)
    clock[0] = 11.0
    assert store.wait_for_turn(1.0, 0)


def test_frames_without_a_picture_take_no_room_and_no_turn() -> None:
    """What was lost before anybody saw it only waits to be told, and keeps nothing waiting."""
    store = FrameStore(2)
    for seq in range(5):
        store.put(replace(frame(seq), picture=None))
    assert store.wait_for_turn(1.0, 0)
    assert store.wait_for_room(0)
    for seq in (5, 6):
        store.put(frame(seq))
        store.begin(seq)
    assert not store.wait_for_room(0)
    store.release(0)
    assert not store.wait_for_room(0)
    store.release(5)
    assert store.wait_for_room(0)


def test_a_frame_that_was_begun_wakes_who_waits_for_its_turn() -> None:
    """The source's thread goes on as soon as a replica has begun."""
    store = FrameStore(5)
    store.put(frame(0))
    had_turn: list[bool] = []
    waiter = threading.Thread(target=lambda: had_turn.append(store.wait_for_turn(DEADLINE_S, DEADLINE_S)))
    waiter.start()
    store.begin(0)
    waiter.join(DEADLINE_S)
    assert had_turn == [True]
