"""Files in OpenPose's format: names, keys, order, pixels, and never half a file."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.errors import OutputError
from posestream.stages.items import Drop, Frame, FrameKey, Person, Poses, Reason, Stage
from posestream.stages.output.openpose import OpenPoseSettings, OpenPoseSink
from posestream.stages.output.sink import Ended

#: Every frame tells its source: this output looks at nothing else of it.
NO_INFO = cast(Any, None)
NAN = float("nan")

#: The parts of OpenPose's models in its own order and spelling.
OPENPOSE_PARTS = {
    "openpose-18": "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar",
    "openpose-15": "Head Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle "
    "Chest",
    "body-25": "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel",
}


def an_ended(seq: int, people: tuple[Person, ...] = (), name: str | None = None) -> Ended:
    """Give a frame that ended as poses."""
    key = FrameKey("door", seq)
    frame = Frame(key, 0, None if name else seq, Fraction(1, 30), 0.0, 0.0, 640, 480, None, name)
    return Ended(frame, Poses(key, people), {})


def written(folder: Path, *ended: Ended) -> list[str]:
    """Write ended frames and give the names of the files there are."""
    sink = OpenPoseSink(OpenPoseSettings(folder))
    sink.open(NO_INFO)
    for each in ended:
        sink.write(each)
    sink.close()
    assert sink.paths == (folder,)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_is_openposes(tmp_path: Path) -> None:
    """A person is told with OpenPose's keys, in its pixels (half less), and three zeros where not found."""
    keypoints = np.array([[10.5, 20.75, 0.9], [NAN, NAN, NAN], [0.5, 0.25, 0.123456]], np.float32)

    written(tmp_path, an_ended(7, (Person(keypoints, 0.8),)))

    file = json.loads((tmp_path / "door_000000000007_keypoints.json").read_bytes())
    assert file == {
        "version": 1.3,
        "people": [
            {
                "person_id": [-1],
                "pose_keypoints_2d": [10.0, 20.25, 0.9, 0.0, 0.0, 0.0, 0.0, -0.25, 0.123456],
                "face_keypoints_2d": [],
                "hand_left_keypoints_2d": [],
                "hand_right_keypoints_2d": [],
                "pose_keypoints_3d": [],
                "face_keypoints_3d": [],
                "hand_left_keypoints_3d": [],
                "hand_right_keypoints_3d": [],
            }
        ],
    }


@pytest.mark.parametrize("layout", OPENPOSE_PARTS)
def test_the_order_of_keypoints_is_openposes(layout: str) -> None:
    """A layout's keypoints stand in the order in which OpenPose writes them for the same network."""
    parts = [name.replace("right_", "r").replace("left_", "l").replace("_", "") for name in LAYOUTS[layout].keypoints]

    assert parts == OPENPOSE_PARTS[layout].lower().split()


def test_a_video_has_a_file_per_posed_frame(tmp_path: Path) -> None:
    """A frame without people has a file that says so, a dropped frame has none, and nothing else is left behind."""
    key = FrameKey("door", 1)
    dropped = Ended(an_ended(1).frame, Drop(key, Stage.DECODE, Reason.UNDECODABLE), {})

    names = written(tmp_path / "new", an_ended(0), dropped, an_ended(2))

    assert names == ["door_000000000000_keypoints.json", "door_000000000002_keypoints.json"]
    assert json.loads((tmp_path / "new" / names[0]).read_bytes()) == {"version": 1.3, "people": []}


def test_a_picture_keeps_its_name_and_folder(tmp_path: Path) -> None:
    """A picture's file has its stem and its folder, and pictures that differ only in suffix do not meet."""
    names = [an_ended(seq, name=name) for seq, name in enumerate(["a.jpg", "day 1/a.jpg", "a.png", "b.c.jpg", "a.jpg"])]

    assert written(tmp_path, *names) == [
        "a.png_keypoints.json",
        "a_keypoints.json",
        "b.c_keypoints.json",
        "day 1/a_keypoints.json",
    ]


def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full, the error is one line and neither half a file nor a temporary one stays."""

    def full(*names: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    sink = OpenPoseSink(OpenPoseSettings(tmp_path))
    sink.open(NO_INFO)

    with pytest.raises(OutputError, match=r"^cannot write .*_keypoints\.json: No space left on device; [^\n]*$"):
        sink.write(an_ended(0))

    assert list(tmp_path.iterdir()) == []
