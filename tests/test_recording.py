"""What a run writes keeps the source's time, sound and orientation, end to end."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from av import open as open_media

from .e2e import CommandLine, frame_times, messages, pictures

pytestmark = pytest.mark.usefixtures("network", "folder")


def sound(path: Path) -> list[bytes]:
    """Read a file's sound, packet by packet."""
    with open_media(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_frames_and_times(cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """The video has the source's frames at the source's times, and the lines tell the same times."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(25), rate=25)
    assert cli("run", clip, "--save-video", "a.mp4", "--save-jsonl", "a.jsonl").code == 0
    wanted = frame_times(clip)
    assert frame_times(folder / "a.mp4") == pytest.approx(wanted)
    assert [message["pts"] for message in messages(folder / "a.jsonl")] == pytest.approx(wanted)


def test_variable_frame_rate(cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """A phone's video with uneven times keeps every one of them."""
    times_ms = [0, 33, 66, 180, 200, 450, 451, 900, 1500, 1533]
    clip = media.write_video(folder / "clip.mkv", media.numbered(len(times_ms)), pts_ms=times_ms)
    assert cli("run", clip, "--save-video", "a.mp4", "--save-jsonl", "a.jsonl").code == 0
    wanted = [time_ms / 1000 for time_ms in times_ms]
    assert [message["pts"] for message in messages(folder / "a.jsonl")] == pytest.approx(wanted)
    assert frame_times(folder / "a.mp4") == pytest.approx(wanted, abs=0.001)


def test_sound(cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """A file's sound is copied as it is; has_sound = false leaves it out."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(20), sound_s=2.0)
    assert cli("run", clip, "--save-video", "a.mp4").code == 0
    assert sound(folder / "a.mp4") == sound(clip)
    assert cli("run", clip, "--save-video", "b.mp4", "--set", "output.video.has_sound=false").code == 0
    with open_media("b.mp4") as container:
        assert not container.streams.audio


def test_sound_ends_with_the_pictures(cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """A part of a video has that part of its sound."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(20), sound_s=2.0)
    assert cli("run", clip, "--max-frames", 10, "--save-video", "a.mp4").code == 0
    with open_media("a.mp4") as container:
        ends_s = [
            float((packet.pts + packet.duration) * packet.time_base)
            for packet in container.demux(audio=0)
            if packet.size
        ]
    assert max(ends_s) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("rotation_deg", [90, 180, 270])
def test_rotation(cli: CommandLine, folder: Path, media: ModuleType, rotation_deg: int) -> None:
    """A video that is played turned is written upright, and the lines speak of the upright picture."""
    upright = media.cornered(480, 320)
    stored = np.ascontiguousarray(np.rot90(upright, -rotation_deg // 90))
    clip = media.write_video(folder / "clip.mp4", [stored] * 5, rotation_deg=rotation_deg)
    assert cli("run", clip, "--save-video", "a.mp4", "--save-jsonl", "a.jsonl").code == 0
    message = messages(folder / "a.jsonl")[0]
    assert (message["width"], message["height"]) == (480, 320)
    with open_media("a.mp4") as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (480, 320, 0)
    green = pictures(folder / "a.mp4")[0][10:70, 380:470].mean((0, 1))
    assert green == pytest.approx([0, 255, 0], abs=40)


def test_skeletons_are_drawn(cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """The people are drawn into video and pictures alike, where the lines say they are."""
    gray = np.full((480, 640, 3), 96, np.uint8)
    clip = media.write_video(folder / "clip.mp4", [gray] * 3)
    done = cli("run", clip, "--save-video", "a.mp4", "--save-images", "drawn", "--save-jsonl", "a.jsonl")
    assert done.code == 0
    x, y, width, height = (int(value) for value in messages(folder / "a.jsonl")[0]["people"][0]["bbox"])
    for picture in pictures(folder / "a.mp4"):
        changed = np.abs(picture.astype(int) - 96).max(axis=2) > 60
        assert changed[y : y + height, x : x + width].sum() > 2000
        assert not changed[y + height + 20 :].any()


def test_an_undecodable_frame_keeps_its_place(cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """A frame that cannot be decoded is a drop in the lines and a gap in the video, and the others keep their times."""
    clip = media.write_video(folder / "clip.avi", media.numbered(8), codec="mjpeg", pix_fmt="yuvj420p")
    done = cli("run", media.spoil(clip, 3), "--save-video", "a.mp4", "--save-jsonl", "a.jsonl")
    told = messages(folder / "a.jsonl")
    assert [message["type"] for message in told] == ["poses"] * 3 + ["drop"] + ["poses"] * 4
    assert [message["n"] for message in told] == list(range(8))
    assert frame_times(folder / "a.mp4") == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7])
    assert "1 dropped as decode/undecodable" in done.out
