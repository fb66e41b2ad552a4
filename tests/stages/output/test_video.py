"""Recorded video, read back: frames, times, sound, shape, colours, and what a kill or a full disk leaves."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
import pytest
from av import AudioFrame, VideoFrame
from av import open as open_media
from numpy.typing import NDArray

from posestream.stages.color import ColorTags
from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.items import Drop, Frame, FrameKey, Poses, Reason, Stage
from posestream.stages.output import media_file
from posestream.stages.output.sink import Ended
from posestream.stages.output.video import VideoSettings, VideoSink
from posestream.stages.source.protocol import SourceInfo

TICK = Fraction(1, 90_000)
#: A second and a half at 25 frames a second.
EVEN = [i * 3_600 for i in range(38)]
#: The same with holes and hurries.
UNEVEN = [0, 3_600, 3_601, 9_000, 9_100, 27_000, 54_321, 60_000, 61_000, 89_999, 90_000, 91_000]

INFO = SourceInfo("clip", 64, 48, Fraction(25), None, None, False, TICK, None, None, ColorTags(6, 1))


def an_ended(seq: int, pts: int | None, epoch: int = 0, mono_s: float = 0.0) -> Ended:
    """Give a frame that ended as poses."""
    key = FrameKey("clip", seq)
    frame = Frame(key, epoch, pts, TICK, mono_s, 0.0, 64, 48, None, None if pts is not None else f"{seq}.jpg")
    return Ended(frame, Poses(key, ()), {})


def a_picture(seq: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Give a grey picture that tells its number by how bright it is."""
    return np.full((height, width, 3), 20 + 5 * seq, np.uint8)


def record(path: Path, ended: Iterable[Ended], info: SourceInfo = INFO, **settings: Any) -> Path:
    """Record frames with a picture each, and give the file."""
    sink = VideoSink(VideoSettings(path, preset="ultrafast", **settings))
    sink.open(info)
    for each in ended:
        sink.write(each, a_picture(each.frame.key.seq, info.height, info.width))
    sink.close()
    sink.close()
    return path


def read(path: Path) -> list[tuple[Fraction, int]]:
    """Decode a video into the time in seconds and the number of each picture."""
    with open_media(str(path)) as container:
        frames = list(container.decode(video=0))
    return [(f.pts * f.time_base, round((f.to_ndarray(format="gray")[8:40, 8:56].mean() - 20) / 5)) for f in frames]


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    """Give the packets of a file's sound with their times in seconds."""
    with open_media(str(path)) as container:
        packets = [p for p in container.demux(container.streams.audio[0]) if p.pts is not None]
        return [(p.pts * p.time_base, bytes(p)) for p in packets]


def a_clip(path: Path, sound: str, first_pts: int = 0) -> Path:
    """Make a file of a second and a half of black pictures, and sound that lasts for two."""
    with open_media(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        voice = container.add_stream(sound, rate=44_100, layout="mono")
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 88_200))
        size = voice.codec_context.frame_size or 1024
        for begin in range(0, noise.shape[1] - size, 1024):
            if voice.format.name.startswith("flt"):
                samples = noise[:, begin : begin + 1024].astype(np.float32)
            else:
                samples = (noise[:, begin : begin + 1024] * 3e4).astype(np.int16)
            heard = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=voice.format.name, layout="mono")
            heard.sample_rate, heard.pts = 44_100, begin
            container.mux(voice.encode(heard))
        for number in range(38):
            seen = VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")
            seen.pts = number + first_pts
            container.mux(pictures.encode(seen))
        container.mux(voice.encode(None))
        container.mux(pictures.encode(None))
    return path


@pytest.mark.parametrize("pts", [EVEN, UNEVEN, [each + 123_456 for each in UNEVEN]])
def test_every_frame_keeps_its_time(tmp_path: Path, pts: list[int]) -> None:
    """Every picture is in the video, in order, at its source's own time counted from the first."""
    path = record(tmp_path / "new" / "out.mp4", [an_ended(seq, each) for seq, each in enumerate(pts)])

    assert read(path) == [((each - pts[0]) * TICK, seq) for seq, each in enumerate(pts)]


@pytest.mark.parametrize("preset", ["ultrafast", "veryfast", "medium"])
def test_every_preset_keeps_times(tmp_path: Path, preset: str) -> None:
    """Presets whose pictures lean on later ones begin at 0 too and keep every time."""
    sink = VideoSink(VideoSettings(tmp_path / "out.mp4", preset=preset))
    sink.open(INFO)
    for seq, pts in enumerate(UNEVEN):
        sink.write(an_ended(seq, pts), a_picture(seq))
    sink.close()

    assert [time for time, _ in read(tmp_path / "out.mp4")] == [pts * TICK for pts in UNEVEN]


def test_a_dropped_frame_keeps_its_place(tmp_path: Path) -> None:
    """A dropped frame's plain picture is written at its time; one without a picture leaves the others' times alone."""
    sink = VideoSink(VideoSettings(tmp_path / "out.mp4"))
    sink.open(INFO)
    for seq in range(6):
        ended = an_ended(seq, seq * 3_600)
        if seq in (2, 4):
            ended = replace(ended, outcome=Drop(ended.frame.key, Stage.DISPATCH, Reason.NEWER))
        sink.write(ended, None if seq in (0, 4) else a_picture(seq))
    sink.close()

    assert read(tmp_path / "out.mp4") == [((seq - 1) * 3_600 * TICK, seq) for seq in (1, 2, 3, 5)]


def test_pictures_are_shown_evenly(tmp_path: Path) -> None:
    """Still pictures, which have no clock, are each shown for the time that is set."""
    info = replace(INFO, rate=None)
    path = record(tmp_path / "out.mp4", [an_ended(seq, None) for seq in range(4)], info, picture_s=0.5)

    assert read(path) == [(Fraction(seq, 2), seq) for seq in range(4)]
    with open_media(str(path)) as container:
        assert container.duration == pytest.approx(2_000_000, abs=40_000)


def test_no_picture_makes_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A source without any picture leaves no file that no player opens, and the log says so."""
    sink = VideoSink(VideoSettings(tmp_path / "out.mp4"))
    sink.open(INFO)
    sink.write(an_ended(0, 0), None)
    sink.close()

    assert list(tmp_path.iterdir()) == []
    assert sink.paths == ()
    assert "no picture" in caplog.text


def test_what_has_its_name_plays(tmp_path: Path) -> None:
    """Whenever the file is there, it opens: a kill in the first second leaves none, and an older one is gone."""
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an older one")
    sink = VideoSink(VideoSettings(path))
    sink.open(INFO)
    shown = []
    for seq in range(100):
        sink.write(an_ended(seq, seq * 3_600), a_picture(seq % 40))
        shown.append(len(read(path)) if path.exists() else 0)
    sink.close()

    assert shown[0] == 0
    assert 0 < shown[-1] < 100
    assert sorted(shown) == shown
    assert len(read(path)) == 100
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_shorter_than_a_fragment(tmp_path: Path) -> None:
    """A single picture makes a file that plays, through a link too, which stays one."""
    (tmp_path / "link.mp4").symlink_to(tmp_path / "out.mp4")
    path = record(tmp_path / "link.mp4", [an_ended(0, 0)])

    assert len(read(path)) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.mp4", "out.mp4"]


def test_pictures_of_other_sizes_are_fitted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder's pictures of other sizes are fitted into the first one's size, which one line tells."""
    sink = VideoSink(VideoSettings(tmp_path / "out.mp4"))
    sink.open(replace(INFO, rate=None))
    for seq, size in enumerate([(48, 64), (200, 300), (30, 20), (49, 65)]):
        sink.write(an_ended(seq, None), a_picture(seq, *size))
    sink.close()

    with open_media(str(tmp_path / "out.mp4")) as container:
        assert [(frame.height, frame.width) for frame in container.decode(video=0)] == [(48, 64)] * 4
    told = [line for line in caplog.messages if "fitted" in line]
    assert len(told) == 1
    assert "64×48; one of 300×200" in told[0]


def test_a_reconnect_goes_on(tmp_path: Path) -> None:
    """After a live source's clock began anew the recording goes on, with the time that passed between."""
    ended = [an_ended(0, 90_000, 0, 10.0), an_ended(1, 93_600, 0, 10.04), an_ended(2, 0, 1, 12.04)]
    path = record(tmp_path / "out.mp4", ended, replace(INFO, is_live=True))

    assert [(round(float(time), 4), seq) for time, seq in read(path)] == [(0.0, 0), (0.04, 1), (2.04, 2)]


@pytest.mark.parametrize(
    "tags", [ColorTags(1, 1, 1, 1), ColorTags(6, 2, 6, 6), ColorTags(5, 1), ColorTags(9, 1, 9, 14)]
)
def test_shape_and_colours_are_the_sources(tmp_path: Path, tags: ColorTags) -> None:
    """An odd size is made even, the pixels' shape and the colours' meaning are told, and colours come back."""
    info = replace(INFO, width=65, height=49, sample_aspect_ratio=Fraction(16, 15), color=tags)
    sink = VideoSink(VideoSettings(tmp_path / "out.mp4"))
    sink.open(info)
    for seq in range(3):
        sink.write(an_ended(seq, seq * 3_600), np.full((49, 65, 3), (40, 200, 90), np.uint8))
    sink.close()

    with open_media(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        frame = next(container.decode(video=0))
    assert (stream.codec.canonical_name, context.pix_fmt in ("yuv420p", "yuvj420p")) == ("h264", True)
    assert (frame.width, frame.height) == (64, 48)
    assert stream.sample_aspect_ratio == Fraction(16, 15)
    told = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    assert told == (tags.colorspace, tags.color_range, tags.primaries, tags.transfer)
    back = frame.reformat(format="bgr24", src_colorspace=tags.colorspace, src_color_range=tags.color_range).to_ndarray()
    assert np.abs(back[20, 30].astype(int) - (40, 200, 90)).max() <= 5


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "aac"), ("ts", "aac"), ("mkv", "ac3")])
def test_a_files_sound_is_copied(tmp_path: Path, suffix: str, codec: str) -> None:
    """The file's sound is there packet by packet as it was, beside the pictures it belonged to, up to their end."""
    clip = a_clip(tmp_path / f"in.{suffix}", codec)
    with open_media(str(clip)) as container:
        time_base = container.streams.video[0].time_base
        pts = [frame.pts for frame in container.decode(video=0)]
    info = replace(INFO, path=clip, time_base=time_base)
    ended = [an_ended(seq, each) for seq, each in enumerate(pts)]
    ended = [replace(each, frame=replace(each.frame, time_base=time_base)) for each in ended]

    path = record(tmp_path / "out.mp4", ended, info)

    origin = pts[0] * time_base
    # MPEG-TS wraps each packet of AAC into a header of 7 bytes, which MP4 has not.
    header = 7 if suffix == "ts" else 0
    there = [(time - origin, data[header:]) for time, data in sound_of(clip)]
    copied = sound_of(path)
    assert [data for _, data in copied] == [data for _, data in there][: len(copied)]
    assert all(abs(mine - its) < Fraction(1, 1000) for (mine, _), (its, _) in zip(copied, there, strict=False))
    assert 1.45 < copied[-1][0] < 1.52
    with open_media(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 1.4 * 44_100
    assert [seq for _, seq in read(path)] == list(range(38))


def test_sound_begins_where_the_pictures_do(tmp_path: Path) -> None:
    """A recording that begins later in the file has the sound of that time, and a decoder hears it from 0 on."""
    clip = a_clip(tmp_path / "in.mkv", "aac")
    info = replace(INFO, path=clip, time_base=Fraction(1, 1000))
    ended = [an_ended(seq, 1000 + 40 * seq) for seq in range(5)]
    ended = [replace(each, frame=replace(each.frame, time_base=Fraction(1, 1000))) for each in ended]

    path = record(tmp_path / "out.mp4", ended, info)

    copied = sound_of(path)
    there = {data: time for time, data in sound_of(clip)}
    assert all(abs(there[data] - 1 - time) < Fraction(1, 500) for time, data in copied)
    assert -0.06 < copied[0][0] <= 0.0
    assert 0.17 < copied[-1][0] < 0.2
    assert [time for time, _ in read(path)] == [Fraction(seq, 25) for seq in range(5)]


def test_sound_that_mp4_does_not_hold_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sound in a codec that players do not expect in MP4 is left out with a warning, and the pictures are there."""
    clip = a_clip(tmp_path / "in.mkv", "pcm_s16le")

    with caplog.at_level(logging.WARNING):
        path = record(tmp_path / "out.mp4", [an_ended(0, 0), an_ended(1, 3_600)], replace(INFO, path=clip))

    assert "pcm_s16le" in caplog.text
    assert len(read(path)) == 2
    with open_media(str(path)) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("content", [b"", b"no media at all" * 99])
def test_a_file_without_sound_is_no_matter(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A file whose sound cannot be read costs a warning, never the recording."""
    clip = tmp_path / "in.mp4"
    clip.write_bytes(content)

    path = record(tmp_path / "out.mp4", [an_ended(0, 0), an_ended(1, 3_600)], replace(INFO, path=clip))

    assert len(read(path)) == 2
    assert "left out" in caplog.text


def test_sound_that_is_no_local_files_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a source has sound that cannot be copied, a line says so, unless no sound was wanted."""
    info = replace(INFO, has_unread_sound=True)
    record(tmp_path / "mute.mp4", [an_ended(0, 0)], info, has_sound=False)
    assert caplog.messages == []
    record(tmp_path / "out.mp4", [an_ended(0, 0)], info)
    assert caplog.messages == ["clip: its sound is left out; only a local file's is copied into a video"]


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    """Without sound asked for, the file has pictures only."""
    clip = a_clip(tmp_path / "in.mp4", "aac")

    path = record(tmp_path / "out.mp4", [an_ended(0, 0)], replace(INFO, path=clip), has_sound=False)

    with open_media(str(path)) as container:
        assert not container.streams.audio


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_video import INFO, a_picture, an_ended
from dataclasses import replace
from posestream.stages.output.video import VideoSettings, VideoSink
clip = Path(sys.argv[3]) if sys.argv[3] else None
sink = VideoSink(VideoSettings(Path(sys.argv[2])))
sink.open(replace(INFO, path=clip))
for seq in range(200):
    sink.write(an_ended(seq, seq * 3600), a_picture(seq % 40))
print("written", flush=True)
sys.stdin.read()
"""


def run_and_kill(script: str, *arguments: object) -> None:
    """Let another process run a script until it says that all is written, and end it by SIGKILL."""
    with subprocess.Popen(  # noqa: S603 — these tests' own script
        [sys.executable, "-c", script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("has_sound", [False, True])
def test_a_killed_process_leaves_a_video(tmp_path: Path, has_sound: bool) -> None:
    """After SIGKILL the file opens and plays, and less than two seconds are missing, also where sound ended early."""
    clip = str(a_clip(tmp_path / "in.mp4", "aac")) if has_sound else ""
    path = tmp_path / "out.mp4"
    run_and_kill(SCRIPT, Path(__file__).parent, path, clip)

    times = [time for time, _ in read(path)]
    # The last ones lean on pictures that come before them in the file and may have stayed without some between.
    whole = len(times) - 4
    assert times[:whole] == [Fraction(seq, 25) for seq in range(whole)]
    assert whole > 200 - 2 * 25


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A disk without space is one error that names the file and says what to do, and closing adds none."""
    path = tmp_path / "out.mp4"
    path.symlink_to("/dev/full")
    sink = VideoSink(VideoSettings(path))
    sink.open(INFO)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)

    def write_for_long() -> None:
        for seq in range(500):
            sink.write(an_ended(seq, seq * 3_600), noise)

    with pytest.raises(OutputError, match=r"^cannot write .*out\.mp4: No space left on device; free some[^\n]*$"):
        write_for_long()
    sink.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_at_the_end_is_told(tmp_path: Path) -> None:
    """What could not be written when closing is an error too."""
    path = tmp_path / "out.mp4"
    path.symlink_to("/dev/full")
    sink = VideoSink(VideoSettings(path))
    sink.open(INFO)
    sink.write(an_ended(0, 0), a_picture(0))

    with pytest.raises(OutputError, match="No space left"):
        sink.close()
    sink.close()


@pytest.mark.parametrize("room", [0.0, 0.3, 0.6, 0.95])
def test_a_disk_that_fills_up_leaves_whole_fragments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: float
) -> None:
    """What a full disk leaves of a video can be decoded to its end, or is no file at all."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)

    def record_noise(path: Path) -> None:
        sink = VideoSink(VideoSettings(path, preset="ultrafast"))
        sink.open(INFO)
        try:
            for seq in range(200):
                sink.write(an_ended(seq, seq * 3_600), noise)
        finally:
            sink.close()

    record_noise(tmp_path / "whole.mp4")
    left = int((tmp_path / "whole.mp4").stat().st_size * room)

    def write_some(descriptor: int, data: bytes) -> None:
        nonlocal left
        taken, left = data[:left], left - min(left, len(data))
        os.write(descriptor, taken)
        if len(taken) < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(media_file, "write_whole", write_some)
    torn = tmp_path / "torn.mp4"
    with pytest.raises(OutputError, match="No space left"):
        record_noise(torn)

    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    if room:
        times = [time for time, _ in read(torn)]
        assert times == [Fraction(seq, 25) for seq in range(len(times))]
        assert len(times) >= 200 * room - 2 * 25
    else:
        assert not torn.exists()


def test_a_path_that_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    """A path that cannot be written is an error when opening, before any picture."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        VideoSink(VideoSettings(tmp_path / "file" / "out.mp4")).open(INFO)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="give the path of a file"):
        VideoSink(VideoSettings(tmp_path / "folder.mp4")).open(INFO)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"path": Path("out.avi")}, r"\.mp4"),
        ({"preset": "fastest"}, "veryfast"),
        ({"crf": 52}, "51"),
        ({"picture_s": 0.0}, "picture time"),
        ({"threads": -1}, "threads"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], what: str) -> None:
    """A setting that x264 or MP4 does not have is refused before any work, with what there is."""
    with pytest.raises(SettingsError, match=what):
        VideoSettings(**({"path": Path("out.mp4")} | values))
