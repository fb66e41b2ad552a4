"""The message, version 1: its keys, its rounding, its numbering and its JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from posestream.stages.items import Drop, Frame, FrameKey, Person, Poses, Reason, Stage
from posestream.stages.message import MessageWriter, json_line

NAN = float("nan")


def a_writer() -> MessageWriter:
    """Give a writer with a source, a network and a layout."""
    return MessageWriter("k3f9", "door", "human-pose-estimation-0001-int8", "openpose-18")


def a_frame(**changes: Any) -> Frame:
    """Give the frame of the design's example, with changes."""
    values: dict[str, Any] = {
        "key": FrameKey("door", 123),
        "epoch": 0,
        "pts": 123,
        "time_base": Fraction(1, 30),
        "captured_mono_s": 5.0,
        "captured_wall_s": 1790000000.123,
        "width": 1280,
        "height": 720,
        "picture": None,
    }
    return Frame(**(values | changes))


def poses_of(*people: tuple[list[tuple[float, float, float]], float], truncated: bool = False) -> Poses:
    """Give poses of people written as keypoints and a score."""
    return Poses(
        FrameKey("door", 123), tuple(Person(np.array(rows, np.float32), score) for rows, score in people), truncated
    )


def test_poses_message_is_the_designs() -> None:
    """A poses message has exactly the keys of version 1, in the design's order, with plain values."""
    poses = poses_of(([(10.126, 20.0, 0.98766), (NAN, NAN, NAN), (30.5, 60.25, 0.5)], 0.83))

    message = a_writer().poses(a_frame(), poses, 1790000000.161)

    assert list(message.items()) == [
        ("v", 1),
        ("type", "poses"),
        ("run", "k3f9"),
        ("source", "door"),
        ("n", 0),
        ("epoch", 0),
        ("seq", 123),
        ("pts", 4.1),
        ("captured_at", 1790000000.123),
        ("published_at", 1790000000.161),
        ("width", 1280),
        ("height", 720),
        ("model", "human-pose-estimation-0001-int8"),
        ("layout", "openpose-18"),
        ("truncated", False),
        (
            "people",
            [
                {
                    "id": None,
                    "score": 0.83,
                    "bbox": [10.13, 20.0, 20.37, 40.25],
                    "keypoints": [[10.13, 20.0, 0.9877], None, [30.5, 60.25, 0.5]],
                }
            ],
        ),
    ]


def test_drop_message_is_the_designs() -> None:
    """A drop message has exactly the keys of version 1 and tells stage and reason as words."""
    drop = Drop(FrameKey("door", 123), Stage.DISPATCH, Reason.NEWER)

    message = a_writer().drop(a_frame(), drop, 1790000000.161)

    assert list(message.items()) == [
        ("v", 1),
        ("type", "drop"),
        ("run", "k3f9"),
        ("source", "door"),
        ("n", 0),
        ("epoch", 0),
        ("seq", 123),
        ("pts", 4.1),
        ("captured_at", 1790000000.123),
        ("stage", "dispatch"),
        ("reason", "newer"),
    ]
    assert type(message["stage"]) is str


def test_messages_are_numbered_without_gaps() -> None:
    """`n` counts poses and drops together from 0, whatever the frames' own numbers are."""
    writer = a_writer()
    drop = Drop(FrameKey("door", 7), Stage.INFER, Reason.POISON)

    numbers = [
        writer.poses(a_frame(), poses_of(), 0.0)["n"],
        writer.drop(a_frame(), drop, 0.0)["n"],
        writer.poses(a_frame(key=FrameKey("door", 900)), poses_of(), 0.0)["n"],
    ]

    assert numbers == [0, 1, 2]
    assert "next n 3" in repr(writer)


def test_a_picture_is_told_by_its_name() -> None:
    """A still picture has no pts but its file name, and a name that is no UTF-8 can still be encoded."""
    frame = a_frame(pts=None, name="day 1/caf\udce9.jpg")

    message = a_writer().poses(frame, poses_of(), 0.0)

    assert message["pts"] is None
    assert message["name"] == "day 1/caf\N{REPLACEMENT CHARACTER}.jpg"
    assert json.loads(json_line(message))["name"] == message["name"]
    assert msgpack.unpackb(msgpack.packb(message)) == message


def test_nobody_is_an_empty_list() -> None:
    """A frame without people has an empty list of people, and a cut-off one says so."""
    message = a_writer().poses(a_frame(), poses_of(truncated=True), 0.0)

    assert message["people"] == []
    assert message["truncated"] is True


def test_nothing_found_has_no_box() -> None:
    """A person without a keypoint has a null box, never one of zeros."""
    message = a_writer().poses(a_frame(), poses_of(([(NAN, NAN, NAN)], 0.1)), 0.0)

    assert message["people"][0]["bbox"] is None
    assert message["people"][0]["keypoints"] == [None]


@pytest.mark.parametrize(("score", "told"), [(-0.5, 0.0), (1.25, 1.0), (0.123456, 0.1235)])
def test_scores_stay_within_0_and_1(score: float, told: float) -> None:
    """A score is told to four decimals within 0…1."""
    message = a_writer().poses(a_frame(), poses_of(([(1.0, 1.0, score)], score)), 0.0)

    assert message["people"][0]["score"] == told
    assert message["people"][0]["keypoints"][0][2] == told


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 4), st.just(18), st.just(3)),
        elements=st.floats(-1e5, 1e5, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
    )
)
def test_any_keypoints_give_json_within_the_rounding(keypoints: np.ndarray) -> None:
    """Whatever the keypoints are, the line is strict JSON and tells each found one to 0.01 px, the others as null."""
    people = tuple(Person(rows, 0.5) for rows in keypoints)

    line = json_line(a_writer().poses(a_frame(), Poses(FrameKey("door", 1), people), 0.0))

    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"NaN" not in line
    assert b"Infinity" not in line
    assert b": " not in line
    for rows, person in zip(keypoints, json.loads(line)["people"], strict=True):
        for row, told in zip(rows, person["keypoints"], strict=True):
            if not np.isfinite(row).all():
                assert told is None
                continue
            assert told[:2] == [round(value, 2) for value in told[:2]]
            assert np.abs(np.float64(row[:2]) - told[:2]).max() <= 0.005 + 1e-9
            assert 0.0 <= told[2] <= 1.0


def test_a_score_that_is_no_number_is_0() -> None:
    """A person's score that is not a number is told as 0, so that the line stays valid."""
    message = a_writer().poses(a_frame(), poses_of(([(1.0, 1.0, 0.5)], NAN)), 0.0)

    assert message["people"][0]["score"] == 0.0


def test_a_line_never_holds_what_json_lacks() -> None:
    """A number that JSON does not have is an error, not a line that readers cannot parse."""
    with pytest.raises(ValueError, match="JSON"):
        json_line({"pts": NAN})
