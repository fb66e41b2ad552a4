"""What became of packets whose frames never came."""

from __future__ import annotations

from collections.abc import Iterable

from posestream.stages.source.pending import Pending
from posestream.stages.source.stamp import Stamp


def at(number: int) -> Stamp:
    """Make the stamp of a packet."""
    return Stamp(number / 10, 1000 + number / 10)


def through(pending: Pending, packets: Iterable[int]) -> list[int]:
    """Let packets come and give a frame each; tell the times of those that were lost on the way."""
    lost = []
    for number in packets:
        pending.add(number, at(number))
        lost += [when for when, _ in pending.lost(number)]
        pending.take(number, at(0))
    return lost


def test_a_frame_has_the_stamp_of_its_packet() -> None:
    """Also when others came in between; a frame of no known packet has the stamp that is given for it."""
    pending = Pending()
    for number in (0, 3, 1):
        pending.add(number, at(number))

    assert [pending.take(number, at(9)) for number in (0, 1, 2, 3)] == [at(0), at(1), at(9), at(3)]


def test_a_failed_packet_is_lost_when_a_later_frame_comes() -> None:
    """Not before, since frames of packets that are stored after it may be shown before it."""
    pending = Pending()
    pending.add(5, at(5))
    pending.fail(5, at(5))

    assert pending.lost(3) == []
    assert pending.lost(6) == [(5, at(5))]
    assert pending.lost() == []


def test_what_the_decoder_swallowed_beside_a_failure_is_lost() -> None:
    """A stream that had a frame for every packet has none too few after a failure: each packet is told of."""
    pending = Pending()
    assert through(pending, range(6)) == []
    for number in (6, 7, 8):
        pending.add(number, at(number))
    pending.fail(7, at(7))

    assert pending.lost(8) == [(6, at(6)), (7, at(7))]
    assert pending.lost() == [(8, at(8))]


def test_packets_without_a_picture_of_their_own_are_no_loss() -> None:
    """A stream with such packets (half pictures, hidden ones) has them beside a failure too."""
    pending = Pending()
    lost = []
    for number in range(0, 20, 2):
        pending.add(number + 1, at(number + 1))
        lost += through(pending, [number, number + 2])
    pending.add(30, at(30))
    pending.add(31, at(31))
    pending.fail(30, at(30))

    assert lost == []
    assert pending.lost() == [(30, at(30))]


def test_a_stream_that_begins_with_a_failure_is_not_known_yet() -> None:
    """Whether it has a frame for every packet nobody knows, so that what gives none is left out."""
    pending = Pending()
    for number in (0, 1):
        pending.add(number, at(number))
    pending.fail(0, at(0))

    assert pending.lost(2) == [(0, at(0))]


def test_what_waits_is_bounded() -> None:
    """A stream whose frames have other times than its packets lets nothing grow; too many failures are told."""
    pending = Pending()
    for number in range(1000):
        pending.add(number, at(number))
    failing = Pending()
    for number in range(64):
        assert not failing.is_full
        failing.add(number, at(number))
        failing.fail(number, at(number))

    assert repr(pending) == "<Pending packets=64 failed=0>"
    assert failing.is_full
    assert len(failing.lost(64)) == 64
    assert not failing.is_full
