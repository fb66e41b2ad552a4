"""Files as OpenPose writes them with --write_json: one per frame, JSON version 1.3, the same names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posestream.stages.items import Frame, Person, Poses
from posestream.stages.output.files import FrameFiles
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended, make_folder

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["ENDING", "OpenPoseSettings", "OpenPoseSink", "openpose_json"]

#: What each file's name ends with.
ENDING = "keypoints.json"
#: The format's version, as OpenPose 1.7 writes it.
_VERSION = 1.3
#: Parts that these networks do not find; OpenPose writes them empty.
_OTHER_PARTS = (
    "face_keypoints_2d",
    "hand_left_keypoints_2d",
    "hand_right_keypoints_2d",
    "pose_keypoints_3d",
    "face_keypoints_3d",
    "hand_left_keypoints_3d",
    "hand_right_keypoints_3d",
)

#: OpenPose tells about six digits: x and y to 0.001 px, confidence to six decimals.
_STEPS = np.array([1e3, 1e3, 1e6])

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class OpenPoseSettings:
    """The folder that the files go to."""

    folder: Path


class OpenPoseSink:
    """Writes `SOURCE_000000000000_keypoints.json` per video frame, `STEM_keypoints.json` per picture.

    The number is the frame's `seq`. The keypoints' order is the layout's, which is OpenPose's own for COCO (18),
    MPI (15) and BODY_25. A frame that was dropped gets no file: an empty one would say that nobody was there.
    """

    def __init__(self, settings: OpenPoseSettings) -> None:
        self._folder = settings.folder
        self._files = FrameFiles(settings.folder, ENDING)
        self._since_s = 0.0

    @property
    def name(self) -> str:
        """The folder, as people call it."""
        return f"openpose {self._folder}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folder."""
        return (self._folder,)

    def resume(self, source: str, since_s: float) -> Held:
        """Look which frames have a file.

        A frame that was dropped has none, so the frames are done again from there on, which writes the same files.
        """
        self._since_s = since_s
        return Held(self._lacks, self._files.next_seq(source))

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002  # every frame tells its source
        """Create the folder where missing.

        Raises:
            OutputError: the folder cannot be created.
        """
        make_folder(self._folder)

    def write(self, ended: Ended) -> None:
        """Write the file of a frame that ended as poses; a reader never sees half of it.

        Raises:
            OutputError: the file could not be written.
        """
        if isinstance(ended.outcome, Poses):
            self._files.write(ended.frame, openpose_json(ended.outcome))

    def close(self) -> None:
        """Do nothing: every file is complete once written."""

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:  # noqa: ARG002  # the names tell
        """True for a frame that could be decoded and has no file."""
        return frame.picture is not None and not self._files.holds(frame, self._since_s)


def openpose_json(poses: Poses) -> bytes:
    """Encode poses as one of OpenPose's files."""
    people = [_person(person) for person in poses.people]
    return _ENCODER.encode({"version": _VERSION, "people": people}).encode()


def _person(person: Person) -> dict[str, Any]:
    """Give one person as OpenPose tells it: x, y, confidence in a row, three zeros where not found."""
    # -1 is OpenPose's "not tracked".
    told: dict[str, Any] = {"person_id": [-1], "pose_keypoints_2d": _flat(person.keypoints)}
    return told | {part: [] for part in _OTHER_PARTS}


def _flat(keypoints: NDArray[np.float32]) -> list[float]:
    """Give K×3 keypoints in a row, in OpenPose's pixels, whose centres are whole numbers."""
    rows = keypoints.astype(np.float64)
    rows[:, :2] -= 0.5
    rows = np.rint(rows * _STEPS) / _STEPS + 0.0
    rows[~np.isfinite(rows).all(axis=1)] = 0.0
    flat: list[float] = rows.ravel().tolist()
    return flat
