"""Going on where the outputs of a killed process end: nothing is missing, nothing is there twice."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
import pytest
from av import AudioFrame, VideoFrame
from av import open as open_media
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from posestream.stages.color import ColorTags
from posestream.stages.errors import OutputError, SettingsError, SourceError
from posestream.stages.items import Drop, Frame, FrameKey, Picture, Poses, Reason, Stage
from posestream.stages.message import MessageWriter
from posestream.stages.output.display import DisplaySettings, DisplaySink
from posestream.stages.output.held import Held, lacks_all
from posestream.stages.output.images import ImagesSettings, ImagesSink
from posestream.stages.output.jsonl import JsonlSettings, JsonlSink
from posestream.stages.output.lines_backwards import lines_backwards
from posestream.stages.output.mp4_fragments import read_fragments
from posestream.stages.output.openpose import OpenPoseSettings, OpenPoseSink
from posestream.stages.output.sink import Ended
from posestream.stages.output.table import check_outputs
from posestream.stages.output.video import VideoSettings, VideoSink
from posestream.stages.resume import go_on
from posestream.stages.source.protocol import SourceInfo

TICK = Fraction(1, 90_000)
INFO = SourceInfo("clip", 64, 48, Fraction(25), None, None, False, TICK, None, None, ColorTags(6, 1))
#: Stands for a picture where only its being there counts.
SOME = cast(Picture, object())
#: Numbers of frames that could not be decoded.
UNDECODABLE = frozenset({3, 60, 61, 130})


def a_frame(seq: int, name: str | None = None, has_picture: bool = True) -> Frame:
    """Give a frame at 25 frames a second, or a still picture with a name."""
    pts = None if name else 3_600 * seq
    return Frame(FrameKey("clip", seq), 0, pts, TICK, 0.0, 0.0, 64, 48, SOME if has_picture else None, name)


def frames(count: int, undecodable: Sequence[int] | frozenset[int] = ()) -> list[Frame]:
    """Give the frames of a video."""
    return [a_frame(seq, has_picture=seq not in undecodable) for seq in range(count)]


def ended(frame: Frame, outcome: Poses | Drop | None = None, run: str = "k3f9") -> Ended:
    """Give a frame that ended, by default as poses or as undecodable, with its message."""
    if outcome is None:
        is_posed = frame.picture is not None
        outcome = Poses(frame.key, ()) if is_posed else Drop(frame.key, Stage.DECODE, Reason.UNDECODABLE)
    writer = MessageWriter(run, frame.key.source, "thin", "openpose-18", frame.key.seq)
    if isinstance(outcome, Poses):
        return Ended(frame, outcome, writer.poses(frame, outcome, 0.0))
    return Ended(frame, outcome, writer.drop(frame, outcome, 0.0))


def stopped(seq: int) -> Ended:
    """Give a frame whose turn did not come before everything was stopped."""
    return ended(a_frame(seq), Drop(FrameKey("clip", seq), Stage.DISPATCH, Reason.STOPPED))


def a_picture(frame: Frame) -> NDArray[np.uint8] | None:
    """Give a grey picture that tells its frame's number (of 40) by how bright it is."""
    return None if frame.picture is None else np.full((48, 64, 3), 20 + 5 * (frame.key.seq % 40), np.uint8)


def write_all(sink: Any, ends: Sequence[Ended], info: SourceInfo = INFO) -> None:
    """Give ended frames to an opened output."""
    for each in ends:
        if isinstance(sink, JsonlSink | OpenPoseSink):
            sink.write(each)
        else:
            sink.write(each, a_picture(each.frame))


def resume(sinks: Sequence[Any], all_frames: Sequence[Frame], info: SourceInfo = INFO) -> int:
    """Go on with outputs as a lane does, to the end; give the number of the first frame."""
    helds = [sink.resume("clip", 0.0) for sink in sinks]
    beginning = go_on(info, iter(all_frames), [held for held in helds if held is not None])
    rest = [ended(frame) for frame in beginning.frames]
    for sink in sinks:
        sink.open(beginning.info)
        write_all(sink, rest)
        sink.close()
    return beginning.info.first_seq


# where a source begins


def holds(count: int, last: dict[str, Any] | None = None) -> Held:
    """Give what an output holds that has the first so many frames."""
    return Held(lambda frame, _: frame.key.seq >= count, count, last)


def test_the_lowest_counts() -> None:
    """A source begins with the first frame that some output lacks, and tells how much comes before it."""
    beginning = go_on(INFO, iter(frames(10, [2])), [holds(7), holds(5), holds(9)])

    assert [frame.key.seq for frame in beginning.frames] == [5, 6, 7, 8, 9]
    assert (beginning.info.first_seq, beginning.info.first_picture, beginning.first_n) == (5, 4, 5)


def test_outputs_that_keep_nothing_pass_nothing_over() -> None:
    """Where no output keeps anything, the source begins at its beginning."""
    beginning = go_on(INFO, iter(frames(3)), [])

    assert [frame.key.seq for frame in beginning.frames] == [0, 1, 2]
    assert beginning.info == INFO


def test_nothing_is_left() -> None:
    """Where everything is held, no frame is left."""
    beginning = go_on(INFO, iter(frames(3)), [holds(9)])

    assert list(beginning.frames) == []
    assert beginning.info.first_seq == 3


@pytest.mark.parametrize("held", [1, 3, 9])
def test_a_source_that_ends_early_still_does(held: int) -> None:
    """The error at a source's end comes after its last frame, also where all of them are held."""

    def broken() -> Iterator[Frame]:
        yield from frames(3)
        raise SourceError("cut off")

    beginning = go_on(INFO, broken(), [holds(held)])
    left = []
    with pytest.raises(SourceError, match="cut off"):
        left.extend(beginning.frames)

    assert beginning.info.first_seq == min(held, 3)


def test_another_source_is_refused() -> None:
    """A source whose frame is not the one that the last message tells of is not gone on with."""
    last = ended(replace(a_frame(4), pts=14_401)).message

    with pytest.raises(SourceError, match="frame 4 is another one than the outputs tell of"):
        list(go_on(INFO, iter(frames(10)), [holds(5, last)]).frames)
    with pytest.raises(SourceError, match="frame 4 is another one than the outputs tell of"):
        list(go_on(INFO, iter(frames(10)), [holds(5, last), holds(0)]).frames)


def test_passing_over_can_be_stopped() -> None:
    """Whoever stops while frames are passed over gets no frame."""
    beginning = go_on(INFO, iter(frames(10)), [holds(5)], is_stopping=iter([False, False, True]).__next__)

    assert list(beginning.frames) == []
    assert beginning.info.first_seq == 2


def test_a_live_source_is_numbered_on() -> None:
    """A live source begins now; its frames and messages have numbers and an epoch that were not there before."""
    info = replace(INFO, is_live=True)
    last = {**ended(a_frame(7)).message, "n": 5, "epoch": 2}

    beginning = go_on(info, iter(frames(2)), [holds(8, last)], least_seq=6)

    assert [(frame.key.seq, frame.epoch, frame.pts) for frame in beginning.frames] == [(8, 3, 0), (9, 3, 3_600)]
    assert (beginning.info.first_seq, beginning.first_n) == (8, 6)
    assert [frame.key.seq for frame in go_on(info, iter(frames(2)), [holds(8)], least_seq=20).frames] == [20, 21]
    assert [(frame.key.seq, frame.epoch) for frame in go_on(info, iter(frames(1)), []).frames] == [(0, 0)]


# lines


@given(
    st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b""))),
    st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")),
    st.integers(1, 20),
)
def test_lines_backwards(lines: list[bytes], unfinished: bytes, block_bytes: int) -> None:
    """Read backwards, a file has the same lines at the same places, whatever the size of the blocks."""
    data = b"".join(line + b"\n" for line in lines) + unfinished
    wanted, begin = [], 0
    for line in data.split(b"\n"):
        wanted.append((begin, data[begin : begin + len(line) + 1]))
        begin += len(line) + 1
    wanted = [(begin, line) for begin, line in wanted if line]

    assert list(lines_backwards(io.BytesIO(data), block_bytes)) == wanted[::-1]


def jsonl(path: Path, ends: Sequence[Ended]) -> bytes:
    """Write lines and give the file's bytes."""
    sink = JsonlSink(JsonlSettings(path))
    sink.open(INFO)
    write_all(sink, ends)
    sink.close()
    return path.read_bytes()


def test_lines_cut_anywhere(tmp_path: Path) -> None:
    """A file that was cut off at any byte holds its whole lines, and going on makes it what it would have been."""
    path = tmp_path / "a.jsonl"
    all_frames = frames(6, [2])
    whole = jsonl(path, [ended(frame) for frame in all_frames])
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        lines = whole[:size].count(b"\n")

        sink = JsonlSink(JsonlSettings(path))
        held = sink.resume("clip", 0.0)
        assert [held.lacks(frame, 0) for frame in all_frames] == [seq >= lines for seq in range(6)]
        assert (held.last or {}).get("run") == ("k3f9" if lines else None)
        assert resume([JsonlSink(JsonlSettings(path))], all_frames) == lines

        assert path.read_bytes() == whole


def test_lines_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    """Frames before the end of the file, which another output needs, are left out."""
    path = tmp_path / "a.jsonl"
    whole = jsonl(path, [ended(frame) for frame in frames(6)])
    sink = JsonlSink(JsonlSettings(path))
    sink.resume("clip", 0.0)
    sink.open(INFO)
    write_all(sink, [ended(frame, run="other") for frame in frames(8)])
    sink.close()

    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["seq"] for line in path.read_bytes().splitlines()] == list(range(8))


def test_a_spoilt_last_line_is_cut_off(tmp_path: Path) -> None:
    """A last line that is no message, finished or not, is cut off."""
    path = tmp_path / "a.jsonl"
    whole = jsonl(path, [ended(frame) for frame in frames(3)])
    for end in (b'{"v":1,"type":\n', b"\0" * 500, b"\0" * 500 + b"\n", b'{"half\n{"ha', b"17\n"):
        path.write_bytes(whole + end)
        held = JsonlSink(JsonlSettings(path)).resume("clip", 0.0)
        assert held.next_seq == 3
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"my diary\n", "it does not hold messages"),
        (b'{"n":0}\n', "it does not hold messages"),
        (b'{"v":1,"type":"poses","run":"r","source":"door","n":0,"epoch":0,"seq":0}\n', "of 'door', not of 'clip'"),
        (b'{"v":1,"type":"a"}\n' * 3, "the line at byte 0 is no message"),
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, content: bytes, why: str) -> None:
    """A file that holds something else is refused in one line and not touched."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)

    with pytest.raises(OutputError, match=rf"^cannot go on with .*a\.jsonl: .*{why}.*--overwrite[^\n]*$"):
        JsonlSink(JsonlSettings(path)).resume("clip", 0.0)
    assert path.read_bytes() == content


def test_a_damaged_middle_is_refused(tmp_path: Path) -> None:
    """A line that is no message before ones that are is not cut off silently."""
    path = tmp_path / "a.jsonl"
    lines = jsonl(path, [ended(frame) for frame in frames(4)]).splitlines(keepends=True)
    path.write_bytes(lines[0] + b"oops\n" + lines[2] + lines[3])

    with pytest.raises(OutputError, match=f"the line at byte {len(lines[0])} is no message"):
        JsonlSink(JsonlSettings(path)).resume("clip", 0.0)


@pytest.mark.parametrize(
    ("gap", "why"), [(1500, "message 1499 is followed by 1501"), (0, "no message"), (5, "1999 lines")]
)
def test_a_missing_line_is_refused(tmp_path: Path, gap: int, why: str) -> None:
    """A file that lacks a line, near its end or far from it, is not gone on with as if it were whole."""
    path = tmp_path / "a.jsonl"
    lines = jsonl(path, [ended(frame) for frame in frames(2000)]).splitlines(keepends=True)
    # Without its first line a file is one that begins later, as those of a recording in several files do.
    lines[gap] = b"" if gap else b'{"v":1,"type":"poses"}\n'
    path.write_bytes(b"".join(lines))

    with pytest.raises(OutputError, match=rf"^cannot go on with .*a\.jsonl: .*{why}.*--overwrite[^\n]*$"):
        JsonlSink(JsonlSettings(path)).resume("clip", 0.0)
    assert path.read_bytes() == b"".join(lines)


def test_a_line_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """A message that stands in a file twice is not taken for two."""
    path = tmp_path / "a.jsonl"
    lines = jsonl(path, [ended(frame) for frame in frames(4)]).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[1:]]))

    with pytest.raises(OutputError, match="message 1 is followed by 1"):
        JsonlSink(JsonlSettings(path)).resume("clip", 0.0)


def test_frames_that_were_stopped_are_done(tmp_path: Path) -> None:
    """Frames whose turn did not come before everything was stopped, and those after them, are done again."""
    path = tmp_path / "a.jsonl"
    all_frames = frames(7)
    whole = jsonl(path, [ended(frame) for frame in all_frames])
    jsonl(path, [stopped(seq) if seq in (3, 5) else ended(all_frames[seq]) for seq in range(7)])

    assert resume([JsonlSink(JsonlSettings(path))], all_frames) == 3
    assert path.read_bytes() == whole


def test_standard_output_is_refused() -> None:
    """Nobody knows what became of lines on standard output."""
    with pytest.raises(OutputError, match="cannot go on with standard output"):
        JsonlSink(JsonlSettings(Path("-"))).resume("clip", 0.0)


def test_files_of_another_run_are_replaced(tmp_path: Path) -> None:
    """Outputs that were written before this run began are not taken for what its own killed process left."""
    plain = [JsonlSettings(tmp_path / "a.jsonl"), OpenPoseSettings(tmp_path / "a")]
    makers: list[Any] = [
        lambda: JsonlSink(cast(JsonlSettings, plain[0])),
        lambda: OpenPoseSink(cast(OpenPoseSettings, plain[1])),
        lambda: VideoSink(VideoSettings(tmp_path / "a.mp4")),
        lambda: ImagesSink(ImagesSettings(tmp_path / "b")),
    ]
    for make in makers:
        sink = make()
        sink.open(INFO)
        write_all(sink, [ended(frame) for frame in frames(3)])
        sink.close()
    now_s = max(path.stat().st_mtime for path in tmp_path.rglob("*"))

    for make in makers:
        assert [make().resume("clip", now_s + 1).lacks(a_frame(seq), seq) for seq in range(3)] == [True] * 3
        sink = make()
        sink.resume("clip", now_s + 1)
        sink.open(INFO)
        write_all(sink, [ended(a_frame(0))])
        sink.close()
    assert len((tmp_path / "a.jsonl").read_bytes().splitlines()) == 1
    assert len(read(tmp_path / "a.mp4")) == 1
    assert not (tmp_path / "a.part2.mp4").exists()


def test_a_window_keeps_nothing() -> None:
    """A window lacks nothing: what was shown is over."""
    assert DisplaySink(DisplaySettings()).resume("clip", 0.0) is None


# a file for each frame


@pytest.mark.parametrize("sink", [OpenPoseSink, ImagesSink])
def test_missing_files_are_found(tmp_path: Path, sink: type[Any]) -> None:
    """Only frames whose file is there are passed over; one that is half written is not, one without picture is."""

    def make() -> Any:
        return sink(OpenPoseSettings(tmp_path) if sink is OpenPoseSink else ImagesSettings(tmp_path))

    all_frames = frames(8, [1])
    assert resume([make()], all_frames) == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files) == 7
    names = sorted(files)
    (tmp_path / names[3]).rename(tmp_path / f".{names[3]}.part")
    (tmp_path / names[5]).unlink()

    assert make().resume("clip", 0.0).next_seq == 8
    assert resume([make()], all_frames) == 4

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_pictures_are_known_by_name(tmp_path: Path) -> None:
    """Of still pictures those are passed over whose file is there, also where two differ in their suffix only."""
    names = ["a.jpg", "a.png", "b.jpg", "c/a.jpg"]
    all_frames = [a_frame(seq, name) for seq, name in enumerate(names)]
    assert resume([OpenPoseSink(OpenPoseSettings(tmp_path))], all_frames) == 0
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json"))
    assert len(written) == 4

    (tmp_path / "a.png_keypoints.json").unlink()
    assert resume([OpenPoseSink(OpenPoseSettings(tmp_path))], all_frames) == 1
    (tmp_path / "b_keypoints.json").unlink()
    assert resume([OpenPoseSink(OpenPoseSettings(tmp_path))], all_frames) == 2

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == written


def test_no_picture_of_a_stopped_frame(tmp_path: Path) -> None:
    """A frame whose turn did not come before everything was stopped has no file, so that it is done later."""
    sink = ImagesSink(ImagesSettings(tmp_path))
    sink.open(INFO)
    write_all(sink, [ended(a_frame(0)), stopped(1)])
    sink.close()

    assert [path.name for path in tmp_path.iterdir()] == ["clip_000000000000_rendered.jpg"]


# video


def read(path: Path) -> list[tuple[Fraction, int]]:
    """Decode a video into the time in seconds and the number (of 40) of each picture."""
    with open_media(str(path)) as container:
        pictures = list(container.decode(video=0))
    return [(p.pts * p.time_base, round((p.to_ndarray(format="gray")[8:40, 8:56].mean() - 20) / 5)) for p in pictures]


def left_behind(path: Path, count: int, info: SourceInfo = INFO) -> bytes:
    """Write a video as a process does that is killed before it closes it, and give the file's bytes."""
    sink = VideoSink(VideoSettings(path, threads=1))
    sink.open(info)
    write_all(sink, [ended(frame) for frame in frames(count, UNDECODABLE)])
    data = path.read_bytes()
    sink.close()
    for part in path.parent.glob("*.mp4"):
        part.unlink()
    return data


def a_video(path: Path) -> VideoSink:
    """Make the output of a video."""
    return VideoSink(VideoSettings(path, threads=1))


def check_parts(sink: VideoSink, count: int) -> None:
    """Check that the parts of a video have every picture once, at its time since the part's first one."""
    wanted = [seq for seq in range(count) if seq not in UNDECODABLE]
    parts = [read(part) for part in sink.paths]
    assert [number for part in parts for _, number in part] == [seq % 40 for seq in wanted]
    for part in parts:
        seqs, wanted = wanted[: len(part)], wanted[len(part) :]
        assert [time for time, _ in part] == [Fraction(seq - seqs[0], 25) for seq in seqs]


def test_a_video_cut_anywhere(tmp_path: Path) -> None:
    """A video that was cut off at any byte is gone on with so that each picture is there once and in order."""
    path = tmp_path / "a.mp4"
    data = left_behind(path, 130)
    path.write_bytes(data)
    begins = [fragment.begin for fragment in read_fragments(path).fragments]
    sizes = {0, 1, 7, 28, 500, len(data)} | {begin + by for begin in begins for by in (-1, 0, 9)}
    sizes |= set(random.Random(3).sample(range(len(data)), 8))  # noqa: S311 — any places will do
    first_seqs = set()
    for size in sorted(sizes):
        for part in tmp_path.iterdir():
            part.unlink()
        path.write_bytes(data[:size])
        sink = a_video(path)
        first_seqs.add(resume([sink], frames(135, UNDECODABLE)))
        check_parts(sink, 135)
    # The encoder begins anew where the pictures jump from bright to dark.
    assert first_seqs == {0, 40, 80}


def test_a_video_is_cut_where_nothing_before_is_missing(tmp_path: Path) -> None:
    """Fragments do end between pictures that lean on each other, so that counting them would not do."""
    path = tmp_path / "a.mp4"
    path.write_bytes(left_behind(path, 180))
    fragments = read_fragments(path).fragments
    with open_media(str(path)) as container:
        times = [(packet.pos, packet.pts) for packet in container.demux(video=0) if packet.size]

    ends_well = []
    for fragment, after in pairwise(fragments):
        before = [pts for pos, pts in times if pos < after.begin]
        ends_well.append(max(before) < min(pts for pos, pts in times if pos > after.begin))
        assert fragment.pictures == sum(fragment.begin < pos < after.begin for pos, _ in times)
        assert ends_well[-1] or not after.is_independent
    assert not all(ends_well)


def test_a_video_gone_on_with_twice(tmp_path: Path) -> None:
    """A video can be gone on with again; parts that were cut once stay as they are."""
    path = tmp_path / "a.mp4"
    path.write_bytes(left_behind(path, 120))
    sink = a_video(path)
    beginning = go_on(INFO, iter(frames(180, UNDECODABLE)), [sink.resume("clip", 0.0)])
    sink.open(beginning.info)
    write_all(sink, [ended(frame) for frame in beginning.frames])
    part = (tmp_path / "a.part2.mp4").read_bytes()
    sink.close()
    (tmp_path / "a.part2.mp4").write_bytes(part)
    first = path.read_bytes()

    sink = a_video(path)
    assert resume([sink], frames(180, UNDECODABLE)) > 100

    assert [part.name for part in sink.paths] == ["a.mp4", "a.part2.mp4", "a.part3.mp4"]
    assert path.read_bytes() == first
    check_parts(sink, 180)


def test_a_closed_video_is_held_whole(tmp_path: Path) -> None:
    """Of a video that was closed nothing is cut off; where nothing more comes, there is no further file."""
    path = tmp_path / "a.mp4"
    assert resume([a_video(path)], frames(70, UNDECODABLE)) == 0
    whole = path.read_bytes()

    sink = a_video(path)
    assert resume([sink], frames(70, UNDECODABLE)) == 70
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (whole, [path])

    sink = a_video(path)
    assert resume([sink], frames(80, UNDECODABLE)) == 70
    check_parts(sink, 80)
    assert path.read_bytes() == whole


def test_pictures_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    """Where another output lags behind, the pictures that the video has are left out."""
    path = tmp_path / "a.mp4"
    path.write_bytes(left_behind(path, 120))
    sinks = [a_video(path), JsonlSink(JsonlSettings(tmp_path / "a.jsonl"))]
    jsonl(tmp_path / "a.jsonl", [ended(frame) for frame in frames(20, UNDECODABLE)])

    assert resume(sinks, frames(180, UNDECODABLE)) == 20

    check_parts(cast(VideoSink, sinks[0]), 180)
    assert len((tmp_path / "a.jsonl").read_bytes().splitlines()) == 180


def test_a_video_ends_where_it_was_stopped(tmp_path: Path) -> None:
    """From the first frame on whose turn did not come, a video has no pictures, so that they can be done later."""
    path = tmp_path / "a.mp4"
    sink = a_video(path)
    sink.open(INFO)
    write_all(sink, [stopped(seq) if seq in (5, 7) else ended(a_frame(seq)) for seq in range(9)])
    sink.close()

    assert [number for _, number in read(path)] == [0, 1, 2, 3, 4]


def test_a_further_part_has_its_sound(tmp_path: Path) -> None:
    """The sound of a further part begins with its first picture."""
    clip = tmp_path / "in.mp4"
    with open_media(str(clip), "w") as container:
        voice = container.add_stream("aac", rate=48_000)
        for begin in range(0, 8 * 48_000, 1024):
            heard = AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            heard.sample_rate, heard.pts = 48_000, begin
            container.mux(voice.encode(heard))
        container.mux(voice.encode(None))
    info = replace(INFO, path=clip)
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "a.mp4"
    path.write_bytes(left_behind(path, 120, info))
    sink = a_video(path)

    first_seq = resume([sink], frames(180, UNDECODABLE), info)

    assert first_seq > 0
    check_parts(sink, 180)
    with open_media(str(sink.paths[1])) as container:
        times = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.pts is not None]
    assert times[0] == pytest.approx(0.0, abs=0.07)
    assert times[-1] == pytest.approx((180 - first_seq) / 25, abs=0.07)


def test_parts_have_one_size(tmp_path: Path) -> None:
    """A further part has the first one's size, also where its first picture has another one."""
    path = tmp_path / "a.mp4"
    resume([a_video(path)], frames(10))
    sink = a_video(path)
    sink.resume("clip", 0.0)
    sink.open(replace(INFO, first_seq=10, first_picture=10))
    sink.write(ended(a_frame(10)), np.zeros((30, 90, 3), np.uint8))
    sink.close()

    with open_media(str(tmp_path / "a.part2.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (64, 48)


def test_a_live_recording_goes_on_in_a_further_part(tmp_path: Path) -> None:
    """Nothing of a live source is left out."""
    path = tmp_path / "a.mp4"
    live = replace(INFO, is_live=True)
    resume([a_video(path)], frames(10))
    sink = a_video(path)
    resume([sink], frames(7), live)

    assert [len(read(part)) for part in sink.paths] == [10, 7]


def test_other_videos_are_left_alone(tmp_path: Path) -> None:
    """A file that is no video of an earlier run is refused in one line and not touched."""
    plain = tmp_path / "plain.mp4"
    text = tmp_path / "text.mp4"
    text.write_text("not a video at all")
    with open_media(str(plain), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode(None))

    for path in (plain, text):
        before = path.read_bytes()
        with pytest.raises(OutputError, match=r"^cannot go on with .*: it is no video of an earlier run[^\n]*$"):
            a_video(path).resume("clip", 0.0)
        assert path.read_bytes() == before


def test_a_new_video_has_no_old_parts(tmp_path: Path) -> None:
    """Parts of an earlier video are refused like the video itself, and gone once it is replaced."""
    path = tmp_path / "a.mp4"
    for name in ("a.part2.mp4", "a.part3.mp4", "a.part5.mp4"):
        (tmp_path / name).write_bytes(b"old")
    with pytest.raises(SettingsError, match=r"a\.part2\.mp4 exists"):
        check_outputs([VideoSettings(path)], overwrite=False)
    check_outputs([VideoSettings(path)], overwrite=True)

    sink = a_video(path)
    sink.open(INFO)
    write_all(sink, [ended(a_frame(0))])
    sink.close()

    # One that does not follow is no part of it.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.part5.mp4"]


def test_nothing_held_lacks_everything(tmp_path: Path) -> None:
    """Where nothing is there yet, going on is beginning."""
    assert lacks_all(a_frame(0), 0)
    sinks = [a_video(tmp_path / "new" / "a.mp4"), JsonlSink(JsonlSettings(tmp_path / "new" / "a.jsonl"))]

    assert resume(sinks, frames(5)) == 0

    assert len(read(tmp_path / "new" / "a.mp4")) == 5
