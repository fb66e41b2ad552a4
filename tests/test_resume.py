"""A run that was killed and goes on gives what it would have given without that."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .e2e import DEADLINE_S, CommandLine, FakeNetwork, frame_times, messages, pictures, program, real_network
from .e2e import run_program as run

pytestmark = pytest.mark.usefixtures("folder")

#: What differs between two runs that did the same.
_TIMES = ("captured_at", "published_at", "run")


def timeless(path: Path) -> list[dict[str, Any]]:
    """Read lines without what differs between two runs."""
    return [{key: value for key, value in message.items() if key not in _TIMES} for message in messages(path)]


def outputs(name: str) -> tuple[str, ...]:
    """Ask for every output that stays."""
    return (
        *("--save-jsonl", f"{name}.jsonl", "--save-video", f"{name}.mp4"),
        *("--save-openpose-json", f"{name}-json", "--save-images", f"{name}-images"),
    )


def kill_after(lines: int, path: Path, *words: object, environment: dict[str, str], folder: Path) -> None:
    """Start the program and kill it when a file has so many lines."""
    process = subprocess.Popen(  # noqa: S603 — our own program
        program(*words), env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with process:
        deadline_s = time.monotonic() + DEADLINE_S
        while not path.exists() or path.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline_s
        process.send_signal(signal.SIGKILL)


def files(folder: Path) -> dict[str, bytes]:
    """Read a folder's files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_killed_run_goes_on(folder: Path, media: ModuleType) -> None:
    """Killed twice and gone on with, a run gives the lines, files and pictures of an undisturbed one."""
    environment = real_network()
    images = [media.smooth(96 + step % 7, 64)[:, :96] for step in range(120)]
    clip = media.write_video(folder / "clip.mp4", images, rate=10)
    words = ("run", clip, "--net-height", 64)
    whole = run(*words, *outputs("whole"), environment=environment, folder=folder)
    assert whole.code == 0, whole.err

    for lines, resume in ((60, ()), (100, ("--resume",))):
        path = folder / "a.jsonl"
        kill_after(lines, path, *words, *outputs("a"), *resume, environment=environment, folder=folder)
    first_run = messages((folder / "a.jsonl").read_text().rpartition("\n")[0] + "\n")[0]["run"]
    rest = run(*words, *outputs("a"), "--resume", environment=environment, folder=folder)

    assert rest.code == 0, rest.err
    assert timeless(folder / "a.jsonl") == timeless(folder / "whole.jsonl")
    assert {message["run"] for message in messages(folder / "a.jsonl")} == {first_run}
    assert files(folder / "a-json") == files(folder / "whole-json")
    assert files(folder / "a-images").keys() == files(folder / "whole-images").keys()
    parts = [folder / "a.mp4", *sorted(folder.glob("a.part*.mp4"))]
    assert len(parts) >= 2
    assert sum(len(frame_times(part)) for part in parts) == len(frame_times(folder / "whole.mp4")) == 120
    assert all(frame_times(part)[0] == 0.0 for part in parts)


def test_a_cut_run_goes_on(network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """Each output has what it lacks, whichever lags behind, and the summary names every part of the video."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(58), rate=10)
    words = ("run", clip, *outputs("a"))
    assert cli(*words).code == 0
    lines = (folder / "a.jsonl").read_bytes().splitlines(keepends=True)
    drawn = files(folder / "a-images")
    (folder / "a.jsonl").write_bytes(b"".join(lines[:12]) + lines[12][:40])
    (folder / "a-images" / "clip_000000000009_rendered.jpg").unlink()
    video = (folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(video[: video.rindex(b"moof") + 100])

    done = cli(*words, "--resume")

    assert done.code == 0
    told = messages(folder / "a.jsonl")
    assert [message["seq"] for message in told] == [message["n"] for message in told] == list(range(58))
    assert (folder / "a.jsonl").read_bytes().splitlines(keepends=True)[:12] == lines[:12]
    assert files(folder / "a-images").keys() == drawn.keys()
    shown = pictures(folder / "a.mp4") + pictures(folder / "a.part2.mp4")
    assert len(shown) == 58
    assert "wrote a.mp4" in done.out
    assert "wrote a.part2.mp4" in done.out


def test_a_played_file_goes_on(network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """A file at its own speed goes on where its messages end, with the file's times, until nothing is left."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(8), rate=25)
    words = ("run", clip, "--realtime", "--policy", "every-frame", "--save-jsonl", folder / "a.jsonl")
    assert cli(*words).code == 0
    whole = messages(folder / "a.jsonl")
    (folder / "a.jsonl").write_bytes(b"".join((folder / "a.jsonl").read_bytes().splitlines(keepends=True)[:5]))
    for _ in range(2):
        assert cli(*words, "--resume").code == 0
        told = messages(folder / "a.jsonl")
        assert [message["n"] for message in told] == [message["seq"] for message in told] == list(range(8))
        assert [message["pts"] for message in told] == [message["pts"] for message in whole]
    assert network.choices


def test_a_finished_run_has_nothing_to_do(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType
) -> None:
    """Going on with a run that had finished changes nothing and succeeds."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(10))
    words = ("run", clip, *outputs("a"))
    assert cli(*words).code == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert cli(*words, "--resume").code == 0

    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


#: Every output that stays, and the files of each.
EVERY_OUTPUT = {
    "a*.jsonl": ("--save-jsonl", "a.jsonl"),
    "a*.csv": ("--save-csv", "a.csv"),
    "a.coco*.json": ("--save-coco", "a.coco.json"),
    "a*.mp4": ("--save-video", "a.mp4"),
    "openpose/*": ("--save-openpose-json", "openpose"),
    "images/*": ("--save-images", "images"),
}


def inventory(folder: Path) -> dict[str, list[Any]]:
    """Tell what each output holds: of text every line, of videos every picture's size, of pictures their names."""
    found: dict[str, list[Any]] = {}
    for pattern in EVERY_OUTPUT:
        paths = sorted(folder.glob(pattern))
        if pattern == "a*.mp4":
            found[pattern] = [picture.shape for path in paths for picture in pictures(path)]
        elif pattern == "images/*":
            found[pattern] = [path.name for path in paths]
        else:
            lines = [line for path in paths for line in path.read_text().splitlines()]
            found[pattern] = [re.sub(r'"(captured|published)_at":[0-9.]+|,17[0-9.]+,', "", line) for line in lines]
    return found


@pytest.mark.parametrize("segments", [(), ("--segment", 1)], ids=["one file", "segments"])
@pytest.mark.parametrize("missing", EVERY_OUTPUT)
def test_an_output_that_holds_nothing_lacks_everything(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType, missing: str, segments: tuple[object, ...]
) -> None:
    """Added only now, or killed before it held anything: it gets all, and of the others none twice."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(28), rate=10)
    words = ("run", clip, *(word for output in EVERY_OUTPUT.values() for word in output), *segments)
    assert cli(*words).code == 0
    whole = inventory(folder)
    assert all(whole.values())
    for path in folder.glob(missing):
        path.unlink()

    assert cli(*words, "--resume").code == 0

    assert inventory(folder) == whole


def test_a_cut_recording_killed_again_and_again_goes_on(folder: Path, media: ModuleType) -> None:
    """With --segment, kills in the first file and in later ones take no line and no picture."""
    environment = real_network()
    images = [media.smooth(96 + step % 7, 64)[:, :96] for step in range(120)]
    clip = media.write_video(folder / "clip.mp4", images, rate=10)
    outputs = ("--save-jsonl", "a.jsonl", "--save-csv", "a.csv", "--save-video", "a.mp4", "--segment", 4)
    words = ("run", clip, "--net-height", 64, *outputs)

    for lines, number, resume in ((3, 1, ()), (3, 2, ("--resume",)), (3, 4, ("--resume",))):
        path = folder / f"a.{number:06d}.jsonl"
        kill_after(lines, path, *words, *resume, environment=environment, folder=folder)
    rest = run(*words, "--resume", environment=environment, folder=folder)

    assert rest.code == 0, rest.err
    told = [message["seq"] for path in sorted(folder.glob("a.0*.jsonl")) for message in messages(path)]
    assert told == list(range(120))
    assert sum(len(frame_times(path)) for path in folder.glob("a.0*.mp4")) == 120


def test_a_source_that_ended_early_still_does(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType
) -> None:
    """A damaged file is reported again with its own exit code, also where all of it is held."""
    clip = media.cut(media.write_video(folder / "clip.avi", media.numbered(30), codec="mjpeg", pix_fmt="yuvj420p"), 0.5)
    words = ("run", clip, "--save-jsonl", "a.jsonl")
    assert cli(*words).code == 3
    before = (folder / "a.jsonl").read_bytes()

    done = cli(*words, "--resume")

    assert done.code == 3
    assert "ended early" in done.err
    assert (folder / "a.jsonl").read_bytes() == before


def test_going_on_with_nothing_is_beginning(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType
) -> None:
    """Where no output is there yet, --resume runs from the beginning; pictures of a folder are known by their names."""
    for number, image in enumerate(media.numbered(6)):
        media.cv2.imwrite(str(folder / f"{number}.png"), image)
    words = ("run", folder, "--save-jsonl", "out/a.jsonl", "--save-images", "drawn", "--resume")
    assert cli(*words).code == 0
    whole = (folder / "out" / "a.jsonl").read_bytes()
    assert len(files(folder / "drawn")) == 6

    (folder / "out" / "a.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    (folder / "drawn" / "2_rendered.jpg").unlink()
    assert cli(*words).code == 0

    assert [message["name"] for message in messages(folder / "out" / "a.jsonl")] == [f"{n}.png" for n in range(6)]
    assert len(files(folder / "drawn")) == 6


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--overwrite", "--save-jsonl", "a.jsonl"), "leave out --resume or --overwrite"),
        (("--save-jsonl", "-"), "what standard output took is gone"),
    ],
)
def test_what_makes_no_sense_is_refused(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType, words: tuple[str, ...], why: str
) -> None:
    """--resume with --overwrite, or with lines on standard output, is one line and exit code 2."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(3))

    done = cli("run", clip, "--resume", *words)

    assert done.code == 2
    assert len(done.complaints) == 1
    assert why in done.complaints[0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--net-height", 128), "was made with network.net_height = 64, not 128"),
        (("--single-person",), "was made with group.single_person = false, not true"),
        (("--set", "network.scales=[1.0,0.5]"), "was made with network.scales = [1.0], not [1.0, 0.5]"),
        (("--start", 0.5), "was made with source.start_s = 0.0, not 0.5"),
    ],
)
@pytest.mark.parametrize("output", [("--save-jsonl", "a.jsonl"), ("--save-video", "a.mp4"), ("--save-images", "a")])
def test_other_settings_are_refused(
    network: FakeNetwork,
    cli: CommandLine,
    folder: Path,
    media: ModuleType,
    words: tuple[object, ...],
    why: str,
    output: tuple[str, str],
) -> None:
    """Whatever the output is, --resume with settings that give other people is one line and exit code 2."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(20), rate=10)
    run_words = ("run", clip, "--net-height", 64, *output)
    assert cli(*run_words).code == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    done = cli(*run_words, *words, "--resume")

    assert done.code == 2
    assert [why in line for line in done.complaints] == [True]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    same_people = ("--set", "replicas.per_device=2", "--set", "group.implementation=numpy")
    assert cli(*run_words, "--resume", "--max-frames", 10, *same_people).code == 0


def test_other_settings_are_refused_of_recordings_in_several_files(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType
) -> None:
    """A recording that is cut into files has its note too, although no file has its name."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(20), rate=10)
    words = ("run", clip, "--save-jsonl", "a.jsonl", "--set", "output.segment_s=1")
    assert cli(*words, "--net-height", 64).code == 0
    assert len(list(folder.glob("a.*.jsonl"))) == 2

    assert cli(*words, "--net-height", 128, "--resume").code == 2
    assert cli(*words, "--net-height", 64, "--resume").code == 0


def test_the_note_survives_a_kill_and_follows_the_output(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType
) -> None:
    """What an output is made with is noted before its first byte, anew when it is replaced, and missed by nobody."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(6), rate=10)
    words = ("run", clip, "--save-jsonl", "new/a.jsonl")
    assert cli(*words, "--net-height", 64).code == 0
    assert cli(*words, "--net-height", 128, "--overwrite").code == 0
    assert cli(*words, "--net-height", 64, "--resume").code == 2
    assert cli(*words, "--net-height", 128, "--resume").code == 0

    (folder / "empty.mp4").touch()
    assert cli("run", clip, "empty.mp4", "--save-jsonl", "several").code == 3
    assert {path.name for path in (folder / "several").iterdir()} == {"clip.jsonl", ".clip.jsonl.made-with.json"}

    (folder / "new" / ".a.jsonl.made-with.json").unlink()
    assert cli(*words, "--net-height", 64, "--resume").code == 0


def test_outputs_of_something_else_are_refused(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType
) -> None:
    """Lines of another source, network or clip are not gone on with, and stay as they are."""
    clip = media.write_video(folder / "clip.mp4", media.numbered(6), rate=10)
    words = ("run", clip, "--save-jsonl", "a.jsonl")
    assert cli(*words).code == 0
    lines = (folder / "a.jsonl").read_text()
    changes = [
        ('"source":"clip"', '"source":"door"', "it holds the messages of 'door', not of 'clip'", 5),
        ('"model":"mobilenet-thin"', '"model":"other"', "it is of the network other, not of mobilenet-thin", 5),
        ('"pts":0.5', '"pts":0.6', "frame 5 is another one than the outputs tell of", 3),
    ]
    for old, new, why, code in changes:
        changed = lines.replace(old, new)
        assert changed != lines
        (folder / "a.jsonl").write_text(changed)

        done = cli(*words, "--resume")

        assert done.code == code
        complaints = [line for line in done.complaints if "goes on with frame" not in line]
        assert [why in line for line in complaints] == [True]
        assert (folder / "a.jsonl").read_text() == changed
