"""Video that is cut into files and gone on with after a kill: every picture of the source once, in its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from posestream.stages.items import Drop, Reason, Stage
from posestream.stages.output.segments import SegmentedSink, SegmentPlan
from posestream.stages.output.sink import Ended, PictureSink
from posestream.stages.output.video import VideoSettings, VideoSink

from .test_video import INFO, a_picture, an_ended, read, run_and_kill

#: Eight seconds.
COUNT = 200

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.stages.output.test_video_segments import INFO, segmented, write
sink = segmented(Path(sys.argv[2]))
sink.open(INFO)
write(sink, range(int(sys.argv[3])))
print("written", flush=True)
sys.stdin.read()
"""


def segmented(path: Path) -> SegmentedSink[PictureSink]:
    """Make a video in files of two seconds."""

    def sink(part: Path) -> PictureSink:
        return VideoSink(VideoSettings(part, preset="ultrafast"))

    return SegmentedSink(sink, path, SegmentPlan(2.0))


def write(sink: SegmentedSink[PictureSink], numbers: Iterable[int]) -> None:
    """Write the source's pictures of these numbers."""
    for number in numbers:
        sink.write(an_ended(number, number * 3600), a_picture(number % 40))


def write_and_kill(path: Path, count: int) -> None:
    """Let another process write the first pictures, and end it by SIGKILL."""
    run_and_kill(SCRIPT, Path(__file__).parents[3], path, count)


def first_lack(sink: SegmentedSink[PictureSink]) -> int:
    """Look at what is there, and tell which picture is the first that is not."""
    held = sink.resume("clip", 0.0)
    frames = (replace(an_ended(n, n * 3600).frame, picture=object()) for n in range(COUNT))  # type: ignore[arg-type]
    return next(n for n, frame in enumerate(frames) if held.lacks(frame, n))


@pytest.mark.parametrize("written", [[10], [60], [102], [120, 175], [3, 52]])
def test_every_picture_comes_once_whatever_was_killed(tmp_path: Path, written: list[int]) -> None:
    """The lane is told the first picture that no file holds, and goes back even further for another output."""
    path = tmp_path / "out.mp4"
    write_and_kill(path, written[0])
    for further in [*written[1:], COUNT]:
        sink = segmented(path)
        first = first_lack(sink)
        assert first <= COUNT
        begin = max(0, first - 7)
        sink.open(replace(INFO, first_picture=begin))
        write(sink, range(begin, further))
        sink.close()

    files = sorted(tmp_path.iterdir())
    pictures = [number for file in files for _, number in read(file)]
    assert pictures == [number % 40 for number in range(COUNT)]
    assert [file.name for file in files] == [f"out.{number + 1:06d}.mp4" for number in range(len(files))]


def test_a_kill_takes_little(tmp_path: Path) -> None:
    """Of what was written, all but the last two seconds is there to go on with."""
    path = tmp_path / "out.mp4"
    write_and_kill(path, 140)
    assert first_lack(segmented(path)) >= 90


def test_no_file_begins_behind_what_was_stopped(tmp_path: Path) -> None:
    """A video ends before the first frame that was stopped, also where a further file would come after it."""
    sink = segmented(tmp_path / "out.mp4")
    sink.open(INFO)
    write(sink, range(20))
    frame = an_ended(20, 20 * 3600).frame
    sink.write(Ended(frame, Drop(frame.key, Stage.DISPATCH, Reason.STOPPED), {}), a_picture(20))
    write(sink, range(60, 80))
    sink.close()

    assert [path.name for path in tmp_path.iterdir()] == ["out.000001.mp4"]
    assert [number for _, number in read(tmp_path / "out.000001.mp4")] == list(range(20))
