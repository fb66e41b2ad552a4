"""Video files as sources: what is read, in which order, and what is said of files that are not right."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
import pytest
from av import open as open_media

from posestream.stages.errors import SourceError
from posestream.stages.items import FrameKey
from posestream.stages.source.decode import Decoder
from posestream.stages.source.opening import SourceSettings
from posestream.stages.source.video import VideoFileSource

#: The quarter of H.264 that makes packets small, with B-frames and a keyframe every 8 frames.
GOP = {"preset": "veryfast", "g": "8", "bf": "2", "crf": "10"}


def read(path, **settings):
    """Read a file to its end: its info, its frames and what was said at the end."""
    with VideoFileSource(SourceSettings(str(path), **settings)) as source:
        info = source.open()
        frames, said = [], ""
        try:
            for frame in source.frames():
                frames.append(frame)  # noqa: PERF402 — what came before an error is kept
        except SourceError as error:
            said = str(error)
    return info, frames, said


def test_all_frames_in_order(media, tmp_path):
    """Every frame comes once, in order, with its own timestamp and the run's numbering."""
    path = media.write_video(tmp_path / "Clip A.mp4", media.numbered(20), options=GOP)
    info, frames, said = read(path)
    assert said == ""
    assert [frame.key for frame in frames] == [FrameKey("clip-a", seq) for seq in range(20)]
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == list(range(20))
    assert [frame.pts_s for frame in frames] == pytest.approx([n / 10 for n in range(20)])
    assert {frame.epoch for frame in frames} == {0}
    assert (info.width, info.height, info.rate, info.frame_count) == (64, 48, Fraction(10), 20)
    assert (info.path, info.is_live, info.duration_s) == (path, False, pytest.approx(2.0))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_variable_rate_keeps_each_timestamp(media, tmp_path, suffix):
    """A file of uneven frame times gives just these times and is not taken for a cut one."""
    times_ms = [0, 40, 100, 1100, 1140, 1200, 3000]
    codec = "libvpx" if suffix == ".webm" else "libx264"
    path = media.write_video(tmp_path / f"vfr{suffix}", media.numbered(7), codec=codec, pts_ms=times_ms)
    _, frames, said = read(path)
    assert said == ""
    assert [round(frame.pts * frame.time_base * 1000) for frame in frames] == times_ms


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
@pytest.mark.parametrize(("start_s", "first"), [(0.05, 1), (0.7, 7), (0.8, 8), (1.31, 14), (1.9, 19)])
def test_start_is_exact(media, tmp_path, suffix, start_s, first):
    """The first frame is the first one at or after the start, wherever the keyframes are."""
    # FFmpeg guesses the delay of H.264 in AVI, one frame too many; MPEG-4 is what AVI is made for.
    codec, options = (
        ("mpeg4", {"g": "8", "qmin": "1", "qmax": "1"}) if suffix == ".avi" else ("libx264", GOP | {"bf": "0"})
    )
    path = media.write_video(tmp_path / f"clip{suffix}", media.numbered(20), codec=codec, options=options)
    info, frames, said = read(path, start_s=start_s)
    assert said == ""
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == list(range(first, 20))
    assert frames[0].key.seq == 0
    assert info.frame_count == pytest.approx(20 - first, abs=1)


def test_start_between_reordered_frames(media, tmp_path):
    """A start in the middle of B-frames loses none of the frames after it."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(30), options=GOP)
    for first in range(1, 30):
        _, frames, said = read(path, start_s=first / 10)
        assert [media.number_of(frame.picture.bgr()) for frame in frames] == list(range(first, 30))
        assert said == ""


def test_start_behind_the_end(media, tmp_path):
    """A start behind the end is an error that tells how long the file is."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(20))
    with pytest.raises(SourceError, match=r"clip\.mp4 has no frame at or after its start of 7 s \(it lasts 2\.0 s\)$"):
        read(path, start_s=7)


def test_max_frames(media, tmp_path):
    """Reading stops after the number of frames that was asked for, without a complaint."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(20), options=GOP)
    info, frames, said = read(path, max_frames=5, start_s=0.3)
    assert (info.frame_count, said) == (5, "")
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("rotation_deg", "red", "green"),
    # where the blocks of the stored picture's top left and top right are in the upright picture, as (row, column)
    [(90, (-1, 0), (0, 0)), (180, (-1, -1), (-1, 0)), (270, (0, -1), (-1, -1)), (0, (0, 0), (0, -1))],
)
def test_rotation(media, tmp_path, suffix, rotation_deg, red, green):
    """A file that says how it is turned comes upright, in every size that is asked for."""
    images = [media.cornered()] * 2
    path = media.write_video(
        tmp_path / f"turned{suffix}", images, rotation_deg=rotation_deg, aspect=Fraction(4, 3), options={"crf": "5"}
    )
    info, frames, _ = read(path)
    is_turned = rotation_deg in {90, 270}
    assert (info.width, info.height) == ((64, 96) if is_turned else (96, 64))
    assert info.sample_aspect_ratio == (Fraction(3, 4) if is_turned else Fraction(4, 3))
    picture = frames[0].picture
    assert (frames[0].width, frames[0].height) == (picture.width, picture.height) == (info.width, info.height)
    for image in (picture.bgr(), picture.scaled_bgr(32, 24), picture.scaled_bgr(31, 47)):
        assert image.flags.c_contiguous
        assert image[red].argmax() == 2
        assert image[red][2] > 150
        assert image[green].argmax() == 1
        assert image[green][1] > 150
    assert picture.scaled_bgr(31, 47).shape == (47, 31, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("turn", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
@pytest.mark.parametrize("mirror", [(1, 0, 0, 1), (-1, 0, 0, 1)])
def test_every_display_matrix(media, tmp_path, suffix, turn, mirror):
    """Turned, mirrored or both: each block of the stored picture is where the container's matrix takes it."""
    (a, b), (c, d) = np.reshape(mirror, (2, 2)) @ np.reshape(turn, (2, 2))
    matrix = [int(value) for value in (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)]
    path = media.write_video(tmp_path / f"turned{suffix}", [media.cornered()] * 2, matrix=matrix, options={"crf": "5"})
    info, frames, _ = read(path)
    assert (info.width, info.height) == ((64, 96) if b else (96, 64))

    def place(x: int, y: int) -> tuple[int, int]:
        """Give the row and column of a stored corner, told from the centre."""
        return (0 if b * x + d * y < 0 else -1), (0 if a * x + c * y < 0 else -1)

    for image in (frames[0].picture.bgr(), frames[0].picture.scaled_bgr(31, 47)):
        assert image.flags.c_contiguous
        assert image[place(-1, -1)].argmax() == 2
        assert image[place(1, -1)].argmax() == 1
        assert image[place(-1, 1)].max() < 60


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt", "size"),
    [
        (".mkv", "ffv1", "yuv420p10le", (64, 48)),
        (".mkv", "ffv1", "gray", (64, 48)),
        (".mkv", "ffv1", "gray10le", (65, 47)),
        (".mkv", "ffv1", "bgra", (63, 41)),
        (".mkv", "ffv1", "yuv420p", (63, 41)),
        (".mkv", "ffv1", "yuv444p", (1, 1)),
        (".mkv", "ffv1", "bgr0", (1, 1)),
        (".mp4", "libx264", "yuv444p", (63, 41)),
        (".mp4", "libx265", "yuv420p10le", (64, 48)),
        (".avi", "mjpeg", "yuvj420p", (63, 41)),
    ],
)
def test_pixel_formats(media, tmp_path, suffix, codec, pix_fmt, size):
    """Deep, gray, transparent, odd-sized and tiny video keeps its values and its size."""
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = media.write_video(
        tmp_path / f"clip{suffix}", media.numbered(30, *size)[20:], codec=codec, pix_fmt=pix_fmt, options=options
    )
    info, frames, said = read(path)
    assert (info.width, info.height, said) == (*size, "")
    for number, frame in enumerate(frames, 20):
        assert abs(frame.picture.bgr().astype(int) - (16 + 4 * number)).max() <= 4
        assert abs(frame.picture.scaled_bgr(9, 7).astype(int) - (16 + 4 * number)).max() <= 4


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_broken_packets(media, tmp_path, name):
    """A packet that cannot be decoded is a frame without a picture, and neither ends the file nor damns it."""
    path = media.write_video(tmp_path / name, media.noisy(12), codec="mjpeg", pix_fmt="yuvj420p")
    media.spoil(path, 0, 4, 5, 11)
    info, frames, said = read(path)
    assert [frame.key.seq for frame in frames if frame.picture is None] == [0, 4, 5, 11]
    assert [frame.pts_s for frame in frames] == pytest.approx([n / 10 for n in range(12)])
    assert (info.width, info.height, said) == (160, 120, "")


def test_broken_packets_among_reordered_frames(media, tmp_path):
    """Where frames are shown in another order than they are stored, each keeps its own time beside broken ones."""
    path = media.write_video(tmp_path / "clip.mp4", media.noisy(24), options=GOP)
    media.spoil(path, 9, 10)
    _, frames, said = read(path)
    assert said == ""
    assert [frame.pts_s for frame in frames] == pytest.approx([n / 10 for n in range(24)])
    assert [frame.picture is None for frame in frames].count(True) == 2


def test_broken_packets_before_the_start(media, tmp_path):
    """What is broken before the start is not among the frames."""
    path = media.write_video(tmp_path / "clip.avi", media.noisy(12), codec="mjpeg", pix_fmt="yuvj420p")
    media.spoil(path, 4, 9)
    _, frames, _ = read(path, start_s=0.7)
    assert [frame.picture is None for frame in frames] == [False, False, True, False, False]


def test_nothing_decodable(media, tmp_path):
    """A file without one decodable frame is an error when it is opened."""
    path = media.write_video(tmp_path / "clip.avi", media.noisy(3), codec="mjpeg", pix_fmt="yuvj420p")
    media.spoil(path, 0, 1, 2)
    with pytest.raises(SourceError, match=r"clip\.avi has no frame that can be decoded; the file seems to be damaged$"):
        read(path)


@pytest.mark.parametrize("rate", [25, 30, 50])
def test_raw_stream_without_timestamps(media, tmp_path, rate):
    """A bare H.264 stream, which has no timestamps, gets rising ones from the rate that it tells itself."""
    path = media.write_video(tmp_path / "clip.h264", media.numbered(20), rate=rate, options={"preset": "ultrafast"})
    info, frames, said = read(path)
    assert said == ""
    assert (info.rate, len(frames)) == (rate, 20)
    steps = [later.pts_s - frame.pts_s for frame, later in pairwise(frames)]
    assert steps == pytest.approx([1 / rate] * 19)


def test_decoding_times_only(media, tmp_path):
    """Of an AVI with B-frames, whose packets tell only when they are decoded, the frames are evenly timed from 0."""
    path = media.write_video(
        tmp_path / "clip.avi",
        media.numbered(20),
        codec="mpeg4",
        options={"bf": "2", "g": "8", "qmin": "1", "qmax": "1"},
    )
    _, frames, said = read(path)
    assert said == ""
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == list(range(20))
    steps = {later.pts - frame.pts for frame, later in pairwise(frames)}
    assert steps == {1}


def bad_file(kind, media, folder):
    """Make a file that cannot be a source."""
    path = folder / "clip.mp4"
    if kind == "text":
        path.write_text("no video at all\n" * 100)
    elif kind == "letters":
        path = folder / "notes.txt"
        path.write_text("no video at all\n" * 100)
    elif kind == "empty":
        path.touch()
    elif kind == "sound":
        media.write_sound(path)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("text", "is not a video that can be read, or it is damaged or cut off"),
        ("letters", "is not a video but text"),
        ("sound", "has no video"),
        ("folder", "is a folder, not a video"),
    ],
)
def test_what_is_no_video(media, tmp_path, kind, said, capfd):
    """What is no video is told in one line that names the file, and nothing else is printed."""
    path = bad_file(kind, media, tmp_path)
    with pytest.raises(SourceError) as caught:
        read(path)
    assert str(caught.value) == f"{path} {said}"
    assert capfd.readouterr() == ("", "")


def test_unreadable(tmp_path, monkeypatch):
    """A file that may not be read is told with the system's reason."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(SourceError, match=r"clip\.mp4 cannot be read: Permission denied$"):
        read(path)


def test_libav_keeps_quiet(media, tmp_path, capfd):
    """FFmpeg prints nothing, however broken a file is."""
    path = media.write_video(tmp_path / "clip.avi", media.noisy(40), codec="mpeg4", options={"g": "5"})
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data[: int(len(data) * 0.9)])
    _, frames, said = read(path)
    assert frames
    assert said
    assert capfd.readouterr() == ("", "")


def test_strange_names(media, tmp_path):
    """Colons, percent signs and other letters in a file's name are only letters."""
    path = media.write_video(tmp_path / "a.mp4", media.numbered(3))
    path = path.rename(tmp_path / "cam:1 %03d ü?.mp4")
    _, frames, said = read(path)
    assert (len(frames), said, frames[0].key.source) == (3, "", "cam-1-03d-u")


def test_captured_when_the_packet_came(media, tmp_path):
    """A frame's captured time is when its packet was read, on both clocks, not when it left the decoder."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(20), options=GOP)
    _, frames, _ = read(path)
    by_decoding = sorted(frames, key=lambda frame: frame.captured_mono_s)
    # With B-frames a later frame's packet comes before an earlier one's.
    assert [frame.key.seq for frame in by_decoding] != list(range(20))
    assert all(frame.captured_wall_s > 1_700_000_000 for frame in frames)


def test_close_in_the_middle(media, tmp_path):
    """After closing in the middle no frames come, and closing again does no harm."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(20))
    source = VideoFileSource(SourceSettings(str(path)))
    source.open()
    frames = source.frames()
    kept = next(frames)
    source.close()
    source.close()
    assert list(frames) == []
    assert media.number_of(kept.picture.bgr()) == 0


def test_times_that_repeat(media, tmp_path):
    """Frames whose times repeat or jump back still get rising ones, and right times after them are kept."""
    path = media.write_video(tmp_path / "clip.mkv", media.numbered(5))
    with open_media(str(path)) as container:
        decoder = Decoder(container, container.streams.video[0])
        given = [0, 100, 100, 200, None, 400, 50, 500]
        assert [decoder._ordered(pts) for pts in given] == [0, 100, 101, 200, 300, 400, 500, 501]
