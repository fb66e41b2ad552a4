"""Bad input and failures end to end: one line that says what is wrong, and the exit code that scripts can rely on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from av import FFmpegError
from av import open as open_media
from numpy.typing import NDArray

from posestream.models.registry import load_registry
from posestream.models.weights import FOLDERS_VARIABLE

from .e2e import (
    CommandLine,
    FakeNetwork,
    Outcome,
    files,
    frame_times,
    messages,
    program,
    real_network,
    run_program,
    write_picture,
)

pytestmark = pytest.mark.usefixtures("folder")

#: A disk that is always full.
FULL = Path("/dev/full")
needs_full_disk = pytest.mark.skipif(not FULL.is_char_device(), reason="this system has no /dev/full")


@pytest.fixture
def clip(folder: Path, media: ModuleType) -> Path:
    """Write a video of 12 frames at 10 fps."""
    return media.write_video(folder / "clip.mp4", media.numbered(12))


@pytest.fixture
def cut_clip(folder: Path, media: ModuleType) -> Path:
    """Write a video and cut it in the middle; its index stands at its beginning."""
    path = media.write_video(folder / "cut.mp4", noisy(40), muxing={"movflags": "faststart"})
    return media.cut(path, 0.6)


def noisy(count: int, width: int = 96, height: int = 64) -> list[NDArray[np.uint8]]:
    """Make pictures that are all different, so that each takes its part of a file."""
    random = np.random.default_rng(5)
    return [random.integers(0, 255, (height, width, 3), np.uint8) for _ in range(count)]


def decodable(path: Path) -> int:
    """Count the frames that FFmpeg decodes."""
    count = 0
    with open_media(str(path)) as container:
        for packet in container.demux(video=0):
            with suppress(FFmpegError):
                count += len(packet.decode())
    return count


def bad_source(name: str, media: ModuleType) -> str:
    """Make a source that cannot be read, and give its address."""
    path = Path(name)
    match name:
        case "empty.mp4":
            path.write_bytes(b"")
        case "text.mp4":
            path.write_text("Dear diary, today I renamed a file.\n" * 50)
        case "random.mp4":
            path.write_bytes(bytes(range(256)) * 64)
        case "sound.m4a":
            media.write_sound(path)
        case "header.mp4":
            media.cut(media.write_video(path, media.numbered(12)), 0.3)
        case "folder":
            path.mkdir()
        case "broken.png":
            path.write_bytes(b"\x89PNG\r\n\x1a\n no more")
    return name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("absent.mp4", ("absent.mp4", "does not exist")),
        ("absent.png", ("absent.png", "does not exist")),
        ("no-folder/*.png", ("no-folder/*.png", "holds no pictures")),
        ("holiday [1].mp4", ("holiday [1].mp4", "no file of that name")),
        ("empty.mp4", ("empty.mp4", "is empty")),
        ("text.mp4", ("text.mp4", "not a video")),
        ("random.mp4", ("random.mp4", "not a video")),
        ("header.mp4", ("header.mp4", "cut off")),
        ("sound.m4a", ("sound.m4a", "no video")),
        ("folder", ("folder", "no pictures")),
        ("broken.png", ("broken.png", "damaged")),
        ("http://user:secret@127.0.0.1:1/door.mp4", ("127.0.0.1", "cannot be opened")),
    ],
)
def test_a_source_that_cannot_be_read(
    cli: CommandLine, network: FakeNetwork, media: ModuleType, name: str, parts: tuple[str, ...]
) -> None:
    """A source without a picture ends with 3, one line that names it, and no outputs."""
    done = cli("run", bad_source(name, media), "--save-jsonl", "a.jsonl", "--save-video", "a.mp4")
    assert (done.code, len(done.complaints)) == (3, 1)
    assert all(part in done.complaints[0] for part in parts)
    assert "secret" not in done.err + done.out
    assert not {"a.jsonl", "a.mp4"} & set(files(Path()))


@pytest.mark.parametrize("name", ["absent.mp4", "text.mp4", "sound.m4a"])
def test_the_program_with_a_bad_source(folder: Path, media: ModuleType, name: str) -> None:
    """The program itself gives the exit code and the line, without a traceback or a library's own words."""
    environment = real_network()
    done = run_program("run", bad_source(name, media), environment=environment, folder=folder)
    assert (done.code, len(done.complaints)) == (3, 1)
    assert done.complaints[0].startswith("posestream: error: ")


def test_a_video_that_is_cut_off(cli: CommandLine, network: FakeNetwork, cut_clip: Path) -> None:
    """Everything that can be decoded is processed and written; then comes the truth about the end, and 3."""
    wanted = decodable(cut_clip)
    done = cli("run", cut_clip, "--save-jsonl", "a.jsonl", "--save-video", "a.mp4")
    assert 10 < wanted < 40
    assert (done.code, len(done.complaints)) == (3, 1)
    assert "cut.mp4 ended early" in done.complaints[0]
    posed = [message for message in messages(Path("a.jsonl")) if message["type"] == "poses"]
    assert len(posed) == wanted
    assert len(frame_times(Path("a.mp4"))) == wanted
    assert f"{wanted}" in done.out.splitlines()[1].split()


def test_one_bad_source_of_two(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """The good source is finished, the bad one is told, and the exit code is 3."""
    done = cli("run", clip, "absent.mp4", "--save-jsonl", "{source}.jsonl")
    assert (done.code, len(done.complaints)) == (3, 1)
    assert "absent.mp4" in done.complaints[0]
    assert len(messages(Path("clip.jsonl"))) == 12


def test_a_broken_picture_among_good_ones(
    cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType
) -> None:
    """A picture that cannot be decoded is told as a drop and in a warning, also when quiet; the others are done: 0."""
    for name in ("1.png", "3.png"):
        write_picture(folder / "stills" / name, media.smooth(40, 30))
    (folder / "stills" / "2.png").write_bytes(b"no picture")
    done = cli("run", "stills", "--save-jsonl", "a.jsonl")
    told = messages(Path("a.jsonl"))
    assert [message["type"] for message in told] == ["poses", "drop", "poses"]
    assert (told[1]["stage"], told[1]["reason"]) == ("decode", "undecodable")
    assert "1 dropped as decode/undecodable" in done.out
    quiet = cli("run", "stills", "--save-jsonl", "b.jsonl", "--quiet")
    line = "posestream: warning: stills: 1 of 3 frames could not be decoded; the messages (--save-jsonl) tell which"
    assert (quiet.code, quiet.out, quiet.lines) == (0, "", [line])


def test_start_means_nothing_for_pictures(
    cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType
) -> None:
    """A start for pictures is refused before any work."""
    write_picture(folder / "stills" / "1.png", media.smooth(40, 30))
    done = cli("run", "stills", "--start", 1)
    assert (done.code, len(done.lines), network.choices) == (2, 1, 0)


def test_a_start_behind_the_end(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """A start behind the video's end says how long the video is."""
    done = cli("run", clip, "--start", 60)
    assert (done.code, len(done.complaints)) == (3, 1)
    assert "1.2 s" in done.complaints[0]


# outputs


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("--save-jsonl", "plain-file/a.jsonl"),
        ("--save-video", "plain-file/a.mp4"),
        ("--save-images", "plain-file/a"),
        ("--save-openpose-json", "plain-file/a"),
    ],
)
def test_an_output_that_cannot_be_written(
    cli: CommandLine, network: FakeNetwork, clip: Path, option: str, path: str
) -> None:
    """An output below something that is no folder ends with 5 and one line that names it, before any work."""
    Path("plain-file").write_text("mine")
    done = cli("run", clip, option, path, "--save-csv", "other.csv")
    assert (done.code, len(done.complaints)) == (5, 1)
    assert "plain-file is a file, and no folder" in done.complaints[0]
    assert not Path("other.csv").exists()
    assert Path("plain-file").read_text("utf-8") == "mine"


@needs_full_disk
@pytest.mark.parametrize(("option", "name"), [("--save-jsonl", "full.jsonl"), ("--save-video", "full.mp4")])
def test_a_full_disk(cli: CommandLine, network: FakeNetwork, clip: Path, option: str, name: str) -> None:
    """A disk without space ends that output with 5 and one line; other outputs are finished."""
    Path(name).symlink_to(FULL)
    done = cli("run", clip, option, name, "--save-openpose-json", "json")
    assert (done.code, len(done.complaints)) == (5, 1)
    assert "No space left on device" in done.complaints[0]
    assert name in done.complaints[0]
    assert len(files(Path("json"))) == 12


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of a few pages."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(  # noqa: S603 — fixed words
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)],  # noqa: S607
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607 — fixed words


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk as Linux does")
def test_a_disk_that_fills_up(
    cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType, small_disk: Path
) -> None:
    """Pictures and video on a disk that fills up end with 5 and a line each; what was written whole stays readable."""
    clip = media.write_video(folder / "clip.mp4", noisy(30, 320, 240))
    done = cli("run", clip, "--save-images", small_disk / "pictures", "--save-jsonl", "a.jsonl")
    assert (done.code, len(done.complaints)) == (5, 1)
    assert "No space left" in done.complaints[0]
    assert len(messages(Path("a.jsonl"))) == 30
    assert not [name for name in files(small_disk / "pictures") if name.endswith(".part")]


@needs_full_disk
@pytest.mark.parametrize("words", [("run", "clip.mp4"), ("models", "list"), ("run", "clip.mp4", "--save-jsonl", "-")])
def test_standard_output_that_cannot_be_written(folder: Path, clip: Path, words: tuple[str, ...]) -> None:
    """Where standard output cannot be written the program says so on one line and ends with 5."""
    with FULL.open("w") as full:
        command = program(*words, *(("--max-frames", "2") if words[0] == "run" else ()))
        done = subprocess.run(  # noqa: S603 — our own program
            command, env=real_network(), cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    complaints = [line for line in done.stderr.splitlines() if "cannot write standard output: No space left" in line]
    assert (done.returncode, len(complaints)) == (5, 1)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [(), ("--save-jsonl", "-")])
def test_a_reader_that_has_gone(folder: Path, clip: Path, words: tuple[str, ...]) -> None:
    """Where the reader of standard output has gone, as `head` has after its lines, one line says so, and 5."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = program("run", clip, "--max-frames", 2, *words)
    done = subprocess.run(  # noqa: S603 — our own program
        command, env=real_network(), cwd=folder, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write_end)
    complaints = [line for line in done.stderr.splitlines() if "cannot write standard output" in line]
    assert (done.returncode, len(complaints)) == (5, 1)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@needs_full_disk
def test_an_output_wins_over_a_source(cli: CommandLine, network: FakeNetwork, cut_clip: Path) -> None:
    """Where a source ended early and an output failed, the exit code is the output's."""
    Path("full.jsonl").symlink_to(FULL)
    done = cli("run", cut_clip, "--save-jsonl", "full.jsonl", "--save-video", "a.mp4")
    assert (done.code, len(done.complaints)) == (5, 2)


@needs_full_disk
def test_nothing_goes_on_without_outputs(
    cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType
) -> None:
    """When the last output has failed, the source is read no further."""
    clip = media.write_video(folder / "long.mp4", media.numbered(50) * 8)
    done = cli("run", clip, "--save-jsonl", FULL)
    taken = int(done.out.splitlines()[1].split()[1])
    assert (done.code, len(done.complaints)) == (5, 1)
    assert 0 < taken < 400


def test_no_desktop(cli: CommandLine, network: FakeNetwork, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--display without a desktop says so before any work."""
    if sys.platform != "linux":
        pytest.skip("other systems have a desktop always")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    done = cli("run", clip, "--display", "--save-jsonl", "a.jsonl")
    assert (done.code, len(done.complaints), Path("a.jsonl").exists()) == (5, 1, False)
    assert "--display" in done.complaints[0]


# networks and devices


@pytest.mark.parametrize(
    ("device", "parts"),
    [
        ("opencv-cuda:7", ("opencv-cuda:7", "cpu", "opencv-cpu")),
        ("cpu:3", ("cpu:3", "opencv-cpu")),
        ("tpu", ("tpu", "cpu", "opencv-cpu")),
        ("", ("device",)),
    ],
)
def test_a_device_that_is_not_there(
    cli: CommandLine, network: FakeNetwork, clip: Path, device: str, parts: tuple[str, ...]
) -> None:
    """A device that was asked for and is missing is an error that says what there is, before anything is written."""
    Path("a.jsonl").write_text("mine")
    words = ("run", clip, "--set", f"replicas.devices=['{device}']", "--save-jsonl", "a.jsonl", "--overwrite")
    done = cli(*words)
    assert (done.code, len(done.complaints)) == (4, 1)
    assert all(part in done.complaints[0] for part in parts)
    assert Path("a.jsonl").read_text("utf-8") == "mine"


def test_a_missing_device_is_refused_before_it_is_announced(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """Nothing is said to be used on a device that is not there, and no network is fetched for it."""
    done = cli("run", clip, "--device", "opencv-cuda:7")
    assert (done.code, len(done.lines), network.choices) == (4, 1, 0)
    assert "opencv-cuda:7 is not available here" in done.err


def test_a_device_that_cannot_run_the_network(cli: CommandLine, clip: Path) -> None:
    """A device that a network is not made for is an error that says which ones are."""
    done = cli("run", clip, "--model", "human-pose-estimation-0001-int8", "--device", "opencv-cpu")
    assert (done.code, len(done.complaints)) == (4, 1)
    assert "choose one of cpu" in done.complaints[0]


def damaged_network(folder: Path) -> Path:
    """Write files with a network's names that are not the network's."""
    spec = load_registry()["human-pose-estimation-0001-int8"]
    for file in spec.files:
        path = folder / spec.name / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not what it was")
    return folder


def test_a_damaged_network(folder: Path, clip: Path) -> None:
    """A network whose file is not the recorded one is refused by the program, which names the file and what to do."""
    environment = {**os.environ, FOLDERS_VARIABLE: str(damaged_network(folder / "models"))}
    words = ("run", clip, "--model", "human-pose-estimation-0001-int8", "--save-jsonl", "a.jsonl")
    done: Outcome = run_program(*words, environment=environment, folder=folder)
    assert (done.code, len(done.lines), (folder / "a.jsonl").exists()) == (4, 1, False)
    assert "human-pose-estimation-0001.xml is damaged" in done.err
    assert "Traceback" not in done.err


def test_auto_does_not_hide_a_damaged_network(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, folder: Path, clip: Path
) -> None:
    """`auto` does not pass over a damaged network silently."""
    monkeypatch.setenv(FOLDERS_VARIABLE, str(damaged_network(folder / "models")))
    done = cli("run", clip)
    assert (done.code, len(done.lines)) == (4, 1)
    assert "damaged" in done.err


def test_a_full_disk_is_told_as_it_is(
    cli: CommandLine, network: FakeNetwork, clip: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing at all could be written, nothing is said to be written, and no half file is left, hidden or not."""

    def write_nothing(path: Path, *_: object) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_nothing)
    monkeypatch.setattr(Path, "write_text", write_nothing)
    done = cli("run", clip, "--save-openpose-json", "json")
    assert done.code == 5
    assert "wrote" not in done.out
    assert [path for path in folder.rglob("*") if path.is_file() and path != clip] == []
