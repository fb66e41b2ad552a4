"""CSV and COCO results: what is in them, and that they are whole at every moment."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posestream.stages.errors import OutputError
from posestream.stages.output.coco import CocoSettings, CocoSink
from posestream.stages.output.csv_file import CsvSettings, CsvSink
from posestream.stages.output.sink import Ended, Sink

from .ended import LAYOUT, ended_frames, info

MakeSink = Callable[[Path], Sink]
KINDS: dict[str, MakeSink] = {
    "csv": lambda path: CsvSink(CsvSettings(path)),
    "coco": lambda path: CocoSink(CocoSettings(path)),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def write(sink: Sink, frames: list[Ended]) -> None:
    """Write frames to a sink that is opened and closed."""
    sink.open(info())
    for ended in frames:
        sink.write(ended)
    sink.close()
    sink.close()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read rows."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_person_and_frame(tmp_path: Path) -> None:
    """Rows tell frame, person and each keypoint under its name; what was not found is empty, not zero."""
    path = tmp_path / "new" / "out.csv"
    frames = ended_frames(6)
    write(CsvSink(CsvSettings(path)), frames)
    rows = read_csv(path)
    assert [(row["seq"], row["person"]) for row in rows] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
        ("1", "1"),
        ("3", "0"),
        ("3", "1"),
    ]
    first, person = rows[0], frames[0].message["people"][0]
    assert [float(first[f"nose_{what}"]) for what in ("x", "y", "score")] == person["keypoints"][0]
    assert first["left_ear_x"] == ""
    assert [float(first[f"bbox_{side}"]) for side in ("x", "y", "width", "height")] == person["bbox"]
    assert (first["run"], first["source"], first["pts"], first["id"]) == ("run1", "door", "0.0", "")
    assert len(first) == 18 + 3 * len(LAYOUT.keypoints)


def test_coco_results_are_an_array_after_every_frame(tmp_path: Path) -> None:
    """At each moment the file is one JSON array of entries with 17 keypoints, whose centres are whole numbers."""
    path = tmp_path / "out.json"
    sink = CocoSink(CocoSettings(path))
    sink.open(info())
    assert json.loads(path.read_bytes()) == []
    seen = []
    for ended in ended_frames(6):
        sink.write(ended)
        seen.append(len(json.loads(path.read_bytes())))
    sink.close()
    assert seen == [2, 4, 4, 6, 6, 6]
    entry: dict[str, Any] = json.loads(path.read_bytes())[0]
    assert (entry["image_id"], entry["category_id"], entry["score"]) == (0, 1, 0.75)
    keypoints = np.reshape(entry["keypoints"], (17, 3))
    assert keypoints[0].tolist() == [10.0, 20.0, 1.0]
    assert not keypoints[-1].any()


def test_a_picture_with_a_number_for_a_name_has_that_image_id(tmp_path: Path) -> None:
    """Results of COCO's own pictures can be given to its evaluation as they are."""
    path = tmp_path / "out.json"
    write(CocoSink(CocoSettings(path)), ended_frames(1, name="val/000000000139.jpg"))
    assert [entry["image_id"] for entry in json.loads(path.read_bytes())] == [139, 139]


@each_kind
@pytest.mark.parametrize("cut", [0, 1, 20, 200])
def test_going_on_after_a_kill_gives_what_an_undisturbed_run_gives(tmp_path: Path, kind: str, cut: int) -> None:
    """Whatever of its end a killed process left out, the file is completed to the same bytes."""
    make, frames = KINDS[kind], ended_frames(12)
    whole, path = tmp_path / "whole", tmp_path / "cut"
    write(make(whole), frames)
    write(make(path), frames[:7])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - cut])

    sink = make(path)
    held = sink.resume("door", 0.0)
    assert held is not None
    lacking = [ended for ended in frames if held.lacks(ended.frame, 0)]
    # What it does not lack is passed over; other outputs may lack more, so that it is given more than it lacks.
    write(sink, frames[min(ended.frame.key.seq for ended in lacking) :] if cut == 1 else frames)
    if cut == 200:
        # A whole row was cut: what is left of that frame tells of it, as after a kill, which leaves whole frames.
        assert json.loads(path.read_bytes()) if kind == "coco" else read_csv(path)
    else:
        assert path.read_bytes() == whole.read_bytes()


@each_kind
def test_a_full_disk_leaves_nothing_of_the_frame(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes only a part before it fails is undone: the file is as it was before that frame."""
    path = tmp_path / "out"
    sink = KINDS[kind](path)
    sink.open(info())
    frames = ended_frames(2)
    sink.write(frames[0])
    before = path.read_bytes()
    real = os.pwrite

    def full(descriptor: int, data: bytes, place: int) -> int:
        if len(data) < 50:
            return real(descriptor, data, place)
        monkeypatch.setattr(os, "pwrite", lambda d, rest, p: real(d, rest, p) if len(rest) < 50 else no_space())
        return real(descriptor, data[:60], place)

    def no_space() -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutputError, match=r"No space left on device; free some space"):
        sink.write(frames[1])
    sink.close()
    assert path.read_bytes() == before


@each_kind
def test_somebody_elses_file_is_not_gone_on_with(tmp_path: Path, kind: str) -> None:
    """A file that holds something else is refused and untouched."""
    path = tmp_path / "out"
    path.write_text("precious,columns\n1,2\n")
    with pytest.raises(OutputError, match="cannot go on"):
        KINDS[kind](path).resume("door", 0.0)
    assert path.read_text() == "precious,columns\n1,2\n"


def test_another_sources_rows_are_not_gone_on_with(tmp_path: Path) -> None:
    """Rows of another source are refused."""
    path = tmp_path / "out.csv"
    write(CsvSink(CsvSettings(path)), ended_frames(2))
    with pytest.raises(OutputError, match="'door', not of 'gate'"):
        CsvSink(CsvSettings(path)).resume("gate", 0.0)
