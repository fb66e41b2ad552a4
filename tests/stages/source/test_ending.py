"""How video files end: whole ones quietly, cut ones with one line that says what is missing."""

from __future__ import annotations

import re

import pytest

from posestream.stages.errors import SourceError
from posestream.stages.source.opening import SourceSettings
from posestream.stages.source.video import VideoFileSource


def read(path):
    """Read a file to its end: its frames and what was said there."""
    with VideoFileSource(SourceSettings(str(path))) as source:
        source.open()
        frames, said = [], ""
        try:
            for frame in source.frames():
                frames.append(frame)  # noqa: PERF402 — what came before an error is kept
        except SourceError as error:
            said = str(error)
    return frames, said


HEALTHY = [
    ("clip.mp4", "libx264", {}, {}),
    ("fast.mp4", "libx264", {}, {"movflags": "faststart"}),
    ("parts.mp4", "libx264", {}, {"movflags": "frag_keyframe+empty_moov"}),
    ("clip.mov", "libx264", {}, {}),
    ("clip.mkv", "libx264", {}, {}),
    ("clip.webm", "libvpx", {}, {}),
    ("clip.avi", "mpeg4", {}, {}),
    ("clip.ts", "libx264", {}, {}),
    ("clip.flv", "libx264", {}, {}),
]


@pytest.mark.parametrize("sound_s", [0.0, 1.0, 6.0])
@pytest.mark.parametrize(("name", "codec", "options", "muxing"), HEALTHY)
def test_healthy_files_raise_no_alarm(media, tmp_path, name, codec, options, muxing, sound_s):
    """A whole file in any usual container ends quietly, whether its sound is shorter or longer than the video."""
    path = media.write_video(
        tmp_path / name, media.numbered(30), codec=codec, options=options, muxing=muxing, sound_s=sound_s
    )
    frames, said = read(path)
    assert (len(frames), said) == (30, "")


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize(
    ("name", "codec", "muxing", "counts"),
    [
        ("fast.mp4", "libx264", {"movflags": "faststart"}, True),
        ("clip.avi", "mpeg4", {}, True),
        ("clip.mkv", "libx264", {}, False),
        ("clip.webm", "libvpx", {}, False),
        ("clip.flv", "libx264", {}, False),
    ],
)
@pytest.mark.parametrize("sound_s", [0.0, 3.0])
def test_cut_files_are_told(media, tmp_path, name, codec, muxing, counts, share, sound_s):
    """Of a file that was cut off everything decodable comes first, then one line that says what is missing."""
    options = {"g": "10", "b": "2000000"}
    path = media.write_video(
        tmp_path / name, media.noisy(60), codec=codec, options=options, muxing=muxing, sound_s=sound_s
    )
    media.cut(path, share)
    frames, said = read(path)
    assert 10 < len(frames) < 59
    assert said.startswith(f"{path} ended early: ")
    assert said.endswith("; the file seems to be cut off")
    # FFmpeg's own writers promise up to 0.2 s more than they write; FLV tells only the whole file's length.
    if counts:
        assert re.search(rf": {len(frames)} of 6[01] frames \([\d.]+ of 6\.\d s\);", said)
    elif name != "clip.flv" or not sound_s:
        assert re.search(r": [\d.]+ of 6\.\d s;", said)
    assert "\n" not in said


def test_cut_at_a_packets_end(media, tmp_path):
    """An AVI that was cut just between two packets is found out by its count of frames."""
    path = media.write_video(tmp_path / "clip.avi", media.noisy(60), codec="mjpeg", pix_fmt="yuvj420p")
    with_frames = path.read_bytes()
    path.write_bytes(with_frames[: with_frames.index(b"00dc", len(with_frames) // 2)])
    frames, said = read(path)
    assert said == (
        f"{path} ended early: {len(frames)} of 60 frames ({len(frames) / 10:.1f} of 6.0 s); "
        "the file seems to be cut off"
    )


def test_cut_before_its_index(media, tmp_path):
    """An mp4 whose index was cut away cannot be opened, and the line says so."""
    path = media.cut(media.write_video(tmp_path / "clip.mp4", media.noisy(30)), 0.9)
    with pytest.raises(SourceError, match=r"clip\.mp4 is not a video that can be read, or it is damaged or cut off$"):
        read(path)


@pytest.mark.parametrize("name", ["clip.mp4", "parts.mp4", "clip.mov", "clip.mkv", "clip.webm", "clip.ts", "clip.flv"])
@pytest.mark.parametrize("sound_s", [0.0, 6.0])
def test_a_late_beginning_is_no_early_end(media, tmp_path, name, sound_s):
    """A whole file whose pictures begin at 5 s ends quietly, whether its durations count from 0 or from there."""
    codec = "libvpx" if name.endswith("webm") else "libx264"
    muxing = {"movflags": "frag_keyframe+empty_moov"} if name == "parts.mp4" else {}
    path = media.write_video(
        *(tmp_path / name, media.numbered(25)),
        codec=codec,
        muxing={**muxing, "avoid_negative_ts": "disabled"},
        pts_ms=[5000 + 200 * number for number in range(25)],
        sound_s=sound_s,
    )
    frames, said = read(path)
    assert (len(frames), said) == (25, "")


def test_a_late_beginning_that_is_cut_off(media, tmp_path):
    """Matroska that begins at 5 s and was cut off tells how much there is of what its pictures last."""
    path = media.write_video(
        *(tmp_path / "clip.mkv", media.noisy(60)),
        options={"g": "10", "b": "2000000"},
        muxing={"avoid_negative_ts": "disabled"},
        pts_ms=[5000 + 100 * number for number in range(60)],
    )
    frames, said = read(media.cut(path, 0.5))
    assert 10 < len(frames) < 59
    assert re.search(r": [\d.]+ of 6\.[01] s;", said)


@pytest.mark.parametrize(
    ("muxing", "told"),
    [
        ({"movflags": "faststart"}, r": {0} of 60 frames \({1:.1f} of 6\.0 s\);"),
        ({"movflags": "frag_keyframe+empty_moov"}, r": {1:.1f} of [1-6]\.\d s;"),
    ],
)
def test_told_time_is_that_of_the_frames(media, tmp_path, muxing, told):
    """The time that is told is as long as the frames that came, also where the last ones are shown out of order."""
    options = {"g": "20", "bf": "4", "b_strategy": "0", "b": "2000000"}
    path = media.write_video(tmp_path / "clip.mp4", media.noisy(60), options=options, muxing=muxing)
    whole = path.read_bytes()
    for share in (0.5, 0.6, 0.7):
        path.write_bytes(whole[: int(len(whole) * share)])
        frames, said = read(path)
        assert re.search(told.format(len(frames), len(frames) / 10), said), said


@pytest.mark.parametrize(("name", "packet"), [("clip.ts", 188), ("clip.m2ts", 192)])
def test_a_transport_stream_that_ends_in_mid_packet(media, tmp_path, name, packet):
    """A transport stream of whose last packet a part is missing is told as cut off; one with whole packets is not."""
    muxing = {"mpegts_m2ts_mode": "1"} if packet == 192 else {}
    path = media.write_video(tmp_path / name, media.numbered(30), muxing=muxing)
    data = path.read_bytes()
    assert len(data) % packet == 0
    half = len(data) // packet // 2 * packet
    path.write_bytes(data[: half + 77])
    frames, said = read(path)
    assert 0 < len(frames) < 30
    assert said.endswith("ended early: it ends in the midst of a packet and seems to be cut off")
    path.write_bytes(data[:half])
    assert read(path)[1] == ""


def test_what_hangs_on_a_transport_stream_is_no_cut(media, tmp_path):
    """Bytes behind the last packet that are none's beginning raise no alarm."""
    path = media.write_video(tmp_path / "clip.ts", media.numbered(30))
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    frames, said = read(path)
    assert (len(frames), said) == (30, "")
