"""People as COCO's keypoint results: one JSON array, which is whole after every frame."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import LAYOUTS, Layout
from posestream.stages.errors import OutputError
from posestream.stages.items import Frame, Person, Poses
from posestream.stages.output.held import Held, lacks_all, was_written_since
from posestream.stages.output.lines_backwards import lines_backwards
from posestream.stages.output.record_file import RecordFile
from posestream.stages.output.sink import Ended, output_errors

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["COCO_KEYPOINTS", "PERSON_CATEGORY", "CocoSettings", "CocoSink", "coco_results"]

#: COCO's keypoints in the order of its format.
COCO_KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
#: The category of people in COCO's format.
PERSON_CATEGORY = 1
#: How the file begins and ends; one entry a line between.
_BEGIN, _END = b"[", b"\n]\n"


@dataclass(frozen=True, slots=True)
class CocoSettings:
    """Where the results go."""

    path: Path


class CocoSink:
    """Writes an entry per person: `image_id`, `category_id`, 17 keypoints and `score`, and `seq`, which COCO ignores.

    `image_id` is the number that a picture's name is, as in COCO's own sets, else the frame's `seq`. Each frame's
    entries are written over the array's end together with a new end, in one write: a kill leaves a whole array, and if
    the system itself stops in between, the end is mended by who goes on.
    """

    def __init__(self, settings: CocoSettings) -> None:
        self._path = settings.path
        self._file: RecordFile | None = None
        #: Bytes that an earlier process left and that stay; None: the file is begun anew.
        self._keep: int | None = None
        self._next_seq = 0
        self._is_empty = True

    @property
    def name(self) -> str:
        """The file, as people call it."""
        return f"coco {self._path}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file."""
        return (self._path,)

    def resume(self, source: str, since_s: float) -> Held:  # noqa: ARG002  # the format does not tell its source
        """Go on after the last frame that has entries.

        Raises:
            OutputError: the file cannot be read, or holds something else.
        """
        if not was_written_since(self._path, since_s):
            return Held(lacks_all)
        self._keep, last_seq = self._read()
        self._is_empty = last_seq is None
        if last_seq is None:
            return Held(lacks_all)
        self._next_seq = last_seq + 1
        return Held(self._lacks, self._next_seq)

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002  # every frame tells all there is to tell
        """Create the file, unless it is gone on with.

        Raises:
            OutputError: it cannot be created.
        """
        self._file = RecordFile(self._path, _BEGIN, _END, self._keep)

    def write(self, ended: Ended) -> None:
        """Write a frame's entries, unless they are there.

        Raises:
            OutputError: they could not be written; the array is as before.
        """
        if self._file is None:
            raise ValueError("CocoSink.write before open or after close")
        seq = ended.frame.key.seq
        if not isinstance(ended.outcome, Poses) or seq < self._next_seq:
            return
        entries = coco_results(_image_id(ended.frame), ended.outcome, LAYOUTS[ended.message["layout"]])
        lines = [json.dumps({**entry, "seq": seq}, separators=(",", ":")) for entry in entries]
        if lines:
            self._file.append((("\n" if self._is_empty else ",\n") + ",\n".join(lines)).encode())
            self._is_empty = False

    def close(self) -> None:
        """Close the file; closing again does nothing.

        Raises:
            OutputError: the system reports a late failure.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _read(self) -> tuple[int, int | None]:
        """Give how many bytes are whole entries, the comma after the last one left out, and the last one's frame."""
        with output_errors(self._path), self._path.open("rb") as file:
            if file.read(1) not in (_BEGIN, b""):
                raise self._not_ours("it is no array")
            half: int | None = None
            is_whole = True
            for number, (begin, line) in enumerate(lines_backwards(file)):
                entry = line.rstrip(b",\n")
                if begin == 0:
                    return len(_BEGIN), None
                is_whole = is_whole and (number > 0 or entry == b"]")
                seq = self._seq(entry)
                # Of a frame whose last entry is unfinished others may be missing altogether: it is done again.
                half = seq if not is_whole and half is None else half
                if seq is not None and seq != half:
                    return begin + len(entry), seq
        return 0, None

    def _seq(self, entry: bytes) -> int | None:
        """Give an entry's frame; None for what is no whole entry."""
        try:
            told = json.loads(entry)
        except ValueError:
            return None
        if not isinstance(told, dict) or not isinstance(told.get("seq"), int):
            raise self._not_ours("an entry has no seq")
        return int(told["seq"])

    def _not_ours(self, why: str) -> OutputError:
        return OutputError(f"cannot go on with {self._path}: {why}; give another path or replace it (--overwrite)")

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:  # noqa: ARG002  # every frame may have entries
        """True for a frame after the last one with entries."""
        return frame.key.seq >= self._next_seq


def coco_results(image_id: int, poses: Poses, layout: Layout) -> list[dict[str, Any]]:
    """Give a picture's people in COCO's result format; parts that the layout lacks or nobody found are zeros."""
    numbers = [layout.keypoints.index(name) if name in layout.keypoints else -1 for name in COCO_KEYPOINTS]
    entries = []
    for person in poses.people:
        keypoints = _coco_keypoints(person, numbers)
        if keypoints.any():
            entries.append(
                {
                    "image_id": image_id,
                    "category_id": PERSON_CATEGORY,
                    "keypoints": [round(value, 2) for value in keypoints.ravel().tolist()],
                    "score": person.score,
                }
            )
    return entries


def _coco_keypoints(person: Person, numbers: list[int]) -> NDArray[np.float64]:
    """Give 17×3: x, y counted from the first pixel's centre, and 1 where a keypoint was found."""
    keypoints = person.keypoints[numbers].astype(np.float64)
    is_found = np.isfinite(keypoints[:, 0]) & (np.array(numbers) >= 0)
    keypoints[:, :2] -= 0.5
    keypoints[:, 2] = 1
    keypoints[~is_found] = 0
    return keypoints


def _image_id(frame: Frame) -> int:
    stem = "" if frame.name is None else Path(frame.name).stem
    return int(stem) if stem.isdecimal() else frame.key.seq
