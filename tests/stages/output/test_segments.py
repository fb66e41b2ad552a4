"""Recordings that are cut into files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posestream.stages.errors import SettingsError
from posestream.stages.output.jsonl import JsonlSettings, JsonlSink
from posestream.stages.output.segments import SegmentedSink, SegmentPlan, check_no_segments
from posestream.stages.output.sink import Ended, Sink

from .ended import ended_frames, info


def segmented(path: Path, quota_bytes: int | None = None) -> SegmentedSink[Sink]:
    """Make a recording in files of one second, which is ten frames."""
    return SegmentedSink(lambda part: JsonlSink(JsonlSettings(part)), path, SegmentPlan(1.0, quota_bytes))


def write(sink: SegmentedSink[Sink], frames: list[Ended]) -> None:
    """Write frames to a recording that is opened and closed."""
    sink.open(info())
    for ended in frames:
        sink.write(ended)
    sink.close()


def numbers(folder: Path) -> dict[str, list[int]]:
    """Give the frames of each file."""
    return {
        path.name: [json.loads(line)["n"] for line in path.read_text().splitlines()]
        for path in sorted(folder.iterdir())
    }


def test_each_file_has_its_seconds(tmp_path: Path) -> None:
    """Files are numbered, each begins with the first frame after the time of the one before."""
    sink = segmented(tmp_path / "out.jsonl")
    write(sink, ended_frames(25))
    assert numbers(tmp_path) == {
        "out.000001.jsonl": list(range(10)),
        "out.000002.jsonl": list(range(10, 20)),
        "out.000003.jsonl": list(range(20, 25)),
    }
    assert [path.name for path in sink.paths] == sorted(numbers(tmp_path))


def bytes_of(folder: Path) -> list[int]:
    """Give what each file has."""
    return [path.stat().st_size for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("quota_bytes", [6_000, 12_000, 40_000])
def test_the_oldest_files_go(tmp_path: Path, quota_bytes: int) -> None:
    """All files together, the present one included, never have more than the quota, nor lose most at once."""
    sink = segmented(tmp_path / "out.jsonl", quota_bytes)
    sink.open(info())
    most = []
    for ended in ended_frames(200):
        sink.write(ended)
        most.append(sum(bytes_of(tmp_path)))
    sink.close()
    together = [n for frames in numbers(tmp_path).values() for n in frames]
    assert together == list(range(together[0], 200))
    assert together[0] > 0
    assert max(most) <= quota_bytes
    assert min(most[most.index(max(most)) :]) > quota_bytes / 3


def test_a_file_that_would_have_most_of_the_quota_is_cut_earlier(tmp_path: Path) -> None:
    """However long its seconds are, no file has more than half, so that something is left when the oldest goes."""
    sink = SegmentedSink[Sink](
        lambda part: JsonlSink(JsonlSettings(part)), tmp_path / "out.jsonl", SegmentPlan(1e6, 12_000)
    )
    write(sink, ended_frames(200))
    assert len(bytes_of(tmp_path)) > 1
    assert max(bytes_of(tmp_path)) <= 6_000
    assert sum(bytes_of(tmp_path)) <= 12_000


def test_the_millionth_file_is_one_of_them(tmp_path: Path) -> None:
    """A number with more than six digits is found, comes after those with six, and is gone on with."""
    path = tmp_path / "out.jsonl"
    frames = ended_frames(15)
    write(segmented(path), frames)
    (tmp_path / "out.000001.jsonl").rename(tmp_path / "out.999999.jsonl")
    (tmp_path / "out.000002.jsonl").rename(tmp_path / "out.1000000.jsonl")
    (tmp_path / "out.0000003.jsonl").write_text("")
    again = segmented(path)
    assert [part.name for part in again.paths] == ["out.999999.jsonl", "out.1000000.jsonl"]
    held = again.resume("door", 0.0)
    assert held.next_seq == 15
    write(again, ended_frames(16))
    assert numbers(tmp_path)["out.1000001.jsonl"] == [15]
    with pytest.raises(SettingsError, match=r"out\.999999\.jsonl exists"):
        check_no_segments(path)


def test_it_goes_on_in_a_further_file(tmp_path: Path) -> None:
    """After a kill nothing is missing and nothing double, and an unfinished line is gone."""
    frames = ended_frames(25)
    write(segmented(tmp_path / "out.jsonl"), frames[:14])
    last = tmp_path / "out.000002.jsonl"
    last.write_bytes(last.read_bytes() + b'{"v":1,"type":"po')
    again = segmented(tmp_path / "out.jsonl")
    held = again.resume("door", 0.0)
    assert next(ended.frame.key.seq for ended in frames if held.lacks(ended.frame, 0)) == 14
    write(again, frames)
    assert numbers(tmp_path) == {
        "out.000001.jsonl": list(range(10)),
        "out.000002.jsonl": list(range(10, 14)),
        "out.000003.jsonl": list(range(14, 24)),
        "out.000004.jsonl": [24],
    }


def test_an_older_recording_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Files of an older recording are refused before any work, or go when they may be replaced; others stay."""
    path = tmp_path / "out.jsonl"
    (tmp_path / "out.notes.jsonl").write_text("")
    check_no_segments(path)
    write(segmented(path), ended_frames(25))
    with pytest.raises(SettingsError, match=r"out\.000001\.jsonl exists"):
        check_no_segments(path)
    write(segmented(path), ended_frames(5))
    assert numbers(tmp_path) == {"out.000001.jsonl": list(range(5)), "out.notes.jsonl": []}


@pytest.mark.parametrize("name", ["cam[1]", "a?"])
def test_a_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    """Files of a name with wildcards are found, and those that it would match as a pattern are left alone."""
    other = tmp_path / f"{name.replace('[1]', '1').replace('?', 'b')}.000001.jsonl"
    other.write_text("")
    sink = segmented(tmp_path / f"{name}.jsonl")
    write(sink, ended_frames(15))
    assert [path.name for path in sink.paths] == [f"{name}.000001.jsonl", f"{name}.000002.jsonl"]
    with pytest.raises(SettingsError, match="exists"):
        check_no_segments(tmp_path / f"{name}.jsonl")
    write(segmented(tmp_path / f"{name}.jsonl"), ended_frames(5))
    assert other.exists()
    assert len(sink.paths) == 1


def test_who_goes_on_replaces_what_is_of_another_run(tmp_path: Path) -> None:
    """Files that were last written before this run are none of its recording, also where its first lane died."""
    path = tmp_path / "out.jsonl"
    write(segmented(path), ended_frames(25))
    since_s = max(file.stat().st_mtime for file in tmp_path.iterdir()) + 1
    again = segmented(path)
    held = again.resume("door", since_s)
    assert held.lacks(ended_frames(1)[0].frame, 0)
    write(again, ended_frames(5))
    assert numbers(tmp_path) == {"out.000001.jsonl": list(range(5))}


def test_what_holds_nothing_gives_its_number_again(tmp_path: Path) -> None:
    """Files that a kill left empty go, so that starting again and again leaves none."""
    path = tmp_path / "out.jsonl"
    write(segmented(path), ended_frames(10))
    (tmp_path / "out.000002.jsonl").touch()
    (tmp_path / "out.000003.jsonl").write_bytes(b'{"v":1,"ty')
    again = segmented(path)
    assert again.resume("door", 0.0).next_seq == 10
    write(again, ended_frames(12))
    assert numbers(tmp_path) == {"out.000001.jsonl": list(range(10)), "out.000002.jsonl": [10, 11]}
