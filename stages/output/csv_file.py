"""People as CSV: one row per person and frame, with each keypoint's x, y and score under its name."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posestream.models.layout import LAYOUTS, Layout
from posestream.stages.errors import OutputError
from posestream.stages.items import Frame, Poses
from posestream.stages.message import Message
from posestream.stages.output.held import Held, lacks_all, was_written_since
from posestream.stages.output.lines_backwards import lines_backwards
from posestream.stages.output.record_file import RecordFile
from posestream.stages.output.sink import Ended, output_errors

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["CsvSettings", "CsvSink"]

#: What is told of the frame, as the message tells it.
_FRAME = ("run", "source", "n", "epoch", "seq", "pts", "name", "captured_at", "width", "height", "model")
#: What is told of the person; `person` counts those of a frame from 0.
_PERSON = ("person", "id", "score", "bbox_x", "bbox_y", "bbox_width", "bbox_height")


@dataclass(frozen=True, slots=True)
class CsvSettings:
    """Where the rows go."""

    path: Path


class CsvSink:
    """Writes all rows of a frame at once; a frame without people has none, and what was not found is empty.

    A killed process leaves at most an unfinished last row, and a disk that is full nothing of the last frame.
    """

    def __init__(self, settings: CsvSettings) -> None:
        self._path = settings.path
        self._file: RecordFile | None = None
        #: Bytes that an earlier process left and that stay; None: the file is begun anew.
        self._keep: int | None = None
        #: Frames with smaller numbers are held.
        self._next_seq = 0
        self._begin = b""

    @property
    def name(self) -> str:
        """The file, as people call it."""
        return f"csv {self._path}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file."""
        return (self._path,)

    def resume(self, source: str, since_s: float) -> Held:
        """Cut off an unfinished last row, and go on after the last frame that has rows.

        Raises:
            OutputError: the file cannot be read, or holds something else than rows of this source.
        """
        if not was_written_since(self._path, since_s):
            return Held(lacks_all)
        self._keep, last = self._read(source)
        if last is None:
            return Held(lacks_all)
        self._next_seq = last["seq"] + 1
        return Held(self._lacks, self._next_seq, last)

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002  # the first people tell the layout
        """Create the file, unless it is gone on with.

        Raises:
            OutputError: it cannot be created.
        """
        self._file = RecordFile(self._path, b"", keep=self._keep)

    def write(self, ended: Ended) -> None:
        """Write a frame's rows, unless they are there.

        Raises:
            OutputError: they could not be written.
        """
        if self._file is None:
            raise ValueError("CsvSink.write before open or after close")
        if not isinstance(ended.outcome, Poses) or ended.frame.key.seq < self._next_seq:
            return
        rows: list[Sequence[object]] = []
        if not self._keep:
            rows.append(_header(LAYOUTS[ended.message["layout"]]))
            self._keep = 1
        rows += _rows(ended.message)
        if rows:
            self._file.append(_encoded(rows))

    def close(self) -> None:
        """Close the file; closing again does nothing.

        Raises:
            OutputError: the system reports a late failure.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _read(self, source: str) -> tuple[int, Message | None]:
        """Give how many bytes are whole rows, and what the last one tells of its frame."""
        with output_errors(self._path), self._path.open("rb") as file:
            header = file.readline()
            if header and not ",".join(_FRAME + _PERSON).encode().startswith(header[: len(",".join(_FRAME + _PERSON))]):
                raise self._not_ours("it has other columns")
            if not header.endswith(b"\n"):
                return 0, None
            half: int | None = None
            is_whole = True
            for begin, line in lines_backwards(file):
                if not line.endswith(b"\n"):
                    is_whole = False
                    continue
                if begin == 0:
                    return len(line), None
                told = self._told(line, source)
                # Of a frame whose last row is unfinished others may be missing altogether: it is done again.
                half = told["seq"] if not is_whole and half is None else half
                if told["seq"] != half:
                    return begin + len(line), told
        return 0, None

    def _told(self, line: bytes, source: str) -> Message:
        values = dict(zip(_FRAME, next(csv.reader([line.decode("utf-8", "replace")])), strict=False))
        if values.get("source") != source:
            raise self._not_ours(f"it holds the people of {values.get('source')!r}, not of {source!r}")
        try:
            told: Message = {key: int(values[key]) for key in ("n", "epoch", "seq")}
            told["pts"] = float(values["pts"]) if values["pts"] else None
        except (ValueError, KeyError) as error:
            raise self._not_ours("its last row is none of ours") from error
        named = {"name": values["name"]} if values["name"] else {}
        return told | named | {key: values[key] for key in ("run", "source", "model")}

    def _not_ours(self, why: str) -> OutputError:
        return OutputError(f"cannot go on with {self._path}: {why}; give another path or replace it (--overwrite)")

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:  # noqa: ARG002  # every frame may have rows
        """True for a frame after the last one with rows."""
        return frame.key.seq >= self._next_seq


def _header(layout: Layout) -> list[str]:
    keypoints = [f"{name}_{what}" for name in layout.keypoints for what in ("x", "y", "score")]
    return [*_FRAME, *_PERSON, *keypoints]


def _rows(message: Message) -> list[list[object]]:
    """Give a row for each person of a message."""
    frame = [message.get(key) for key in _FRAME]
    return [[*frame, number, *_person(person)] for number, person in enumerate(message["people"])]


def _person(person: dict[str, Any]) -> list[object]:
    box = person["bbox"] or (None,) * 4
    keypoints = [value for keypoint in person["keypoints"] for value in keypoint or (None,) * 3]
    return [person["id"], person["score"], *box, *keypoints]


def _encoded(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
