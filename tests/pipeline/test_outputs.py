"""Which outputs each source has, decided and refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posestream.pipeline.outputs import LaneOutputs, plan_outputs
from posestream.pipeline.settings import Settings
from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.source.opening import SourceSettings


def plan(output: dict[str, Any], *names: str, inputs: tuple[Path, ...] = ()) -> tuple[LaneOutputs, ...]:
    """Plan outputs for sources of these names."""
    urls = [str(path) for path in inputs] or [f"{name}.mp4" for name in names]
    sources = [SourceSettings(url, name) for url, name in zip(urls, names, strict=True)]
    return plan_outputs(Settings.parse({"output": output}).output, sources)


def jsonl_paths(planned: tuple[LaneOutputs, ...]) -> list[Path]:
    """Give where each source's lines go."""
    return [outputs.table.jsonl.path for outputs in planned if outputs.table.jsonl]


def test_without_outputs_there_are_none() -> None:
    """A source of a run without outputs has no sinks."""
    (outputs,) = plan({}, "door")
    assert outputs.sinks() == []
    assert outputs.picture_sinks() == []


def test_a_sources_name_is_put_into_its_paths(tmp_path: Path) -> None:
    """`{source}` stands for the name, in files and folders alike, wherever it is."""
    output = {
        "jsonl": {"path": str(tmp_path / "{source}" / "{source}.jsonl")},
        "video": {"path": str(tmp_path / "{source}.mp4")},
        "images": {"folder": str(tmp_path / "pictures-{source}")},
        "openpose_json": {"folder": str(tmp_path / "{source}")},
    }
    front, back = plan(output, "front", "back")
    assert jsonl_paths((front, back)) == [tmp_path / "front/front.jsonl", tmp_path / "back/back.jsonl"]
    assert front.table.video is not None
    assert front.table.video.path == tmp_path / "front.mp4"
    assert front.table.images is not None
    assert front.table.images.folder == tmp_path / "pictures-front"
    assert back.table.openpose_json is not None
    assert back.table.openpose_json.folder == tmp_path / "back"


def test_one_source_has_the_path_as_it_is(tmp_path: Path) -> None:
    """A single source writes just where it was told."""
    assert jsonl_paths(plan({"jsonl": {"path": str(tmp_path / "a.jsonl")}}, "door")) == [tmp_path / "a.jsonl"]


def test_several_sources_share_a_folder(tmp_path: Path) -> None:
    """Without `{source}` the path is a folder in which each source has its own."""
    output = {"jsonl": {"path": str(tmp_path / "out")}, "images": {"folder": str(tmp_path / "pictures")}}
    planned = plan(output, "front", "back")
    assert jsonl_paths(planned) == [tmp_path / "out/front.jsonl", tmp_path / "out/back.jsonl"]
    folders = [outputs.table.images.folder for outputs in planned if outputs.table.images]
    assert folders == [tmp_path / "pictures/front", tmp_path / "pictures/back"]


def test_standard_output_is_shared() -> None:
    """`-` is no path: every source writes its lines there."""
    planned = plan({"jsonl": {"path": "-"}}, "front", "back")
    assert jsonl_paths(planned) == [Path("-"), Path("-")]
    assert [outputs.sinks()[0].paths for outputs in planned] == [(), ()]


def test_each_wanted_output_has_its_sink(tmp_path: Path) -> None:
    """The sinks that are made are those that were asked for."""
    output = {
        "jsonl": {"path": str(tmp_path / "a.jsonl")},
        "openpose_json": {"folder": str(tmp_path / "openpose")},
        "video": {"path": str(tmp_path / "a.mp4")},
        "images": {"folder": str(tmp_path / "pictures")},
    }
    (outputs,) = plan(output, "door")
    assert [type(sink).__name__ for sink in outputs.sinks()] == ["JsonlSink", "OpenPoseSink"]
    assert [type(sink).__name__ for sink in outputs.picture_sinks()] == ["VideoSink", "ImagesSink"]


def refused(output: dict[str, Any], *names: str, inputs: tuple[Path, ...] = ()) -> str:
    """Give the line that says why a plan is refused."""
    with pytest.raises(SettingsError) as caught:
        plan(output, *names, inputs=inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_exists_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    """Nothing is overwritten unasked, of the second source either."""
    (tmp_path / "back.jsonl").write_text("")
    output: dict[str, Any] = {"jsonl": {"path": str(tmp_path / "{source}.jsonl")}}
    assert "back.jsonl exists" in refused(output, "front", "back")
    assert len(plan({**output, "overwrite": True}, "front", "back")) == 2


def test_one_file_for_several_sources_is_refused(tmp_path: Path) -> None:
    """A path that names a file is not made a folder for several sources, unless it is one already."""
    output = {"jsonl": {"path": str(tmp_path / "all.jsonl")}}
    assert "is one file for several sources; write {source} into it" in refused(output, "front", "back")
    (tmp_path / "all.jsonl").mkdir()
    assert jsonl_paths(plan(output, "front", "back"))[0] == tmp_path / "all.jsonl/front.jsonl"


@pytest.mark.parametrize("names", [("door",), ("front", "back")])
def test_a_misspelt_place_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Only {source} stands for something in a path; no file is called {sorce}."""
    output = {"jsonl": {"path": str(tmp_path / "{sorce}.jsonl")}}
    assert "{sorce} stands for nothing; {source} stands for the source's name" in refused(output, *names)


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_only_lines_go_to_standard_output(kind: str) -> None:
    """`-` for another output is no file of that name."""
    assert "- is standard output" in refused({kind: {"path": "-"}}, "door")


@pytest.mark.parametrize(("kind", "ending"), [("images", "rendered.jpg"), ("openpose_json", "keypoints.json")])
def test_a_folder_with_such_files_is_refused_unless_they_may_be_replaced(
    tmp_path: Path, kind: str, ending: str
) -> None:
    """A folder is free if it has no files like those to be written; others do not matter."""
    output: dict[str, Any] = {kind: {"folder": str(tmp_path)}}
    (tmp_path / "notes.txt").write_text("")
    assert len(plan(output, "door")) == 1
    (tmp_path / f"door_000000000000_{ending}").write_text("")
    assert "files already" in refused(output, "door")
    assert len(plan({**output, "overwrite": True}, "door")) == 1


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    """Even with overwriting, no input is written over: not another source's, and not through a link."""
    clip, link = tmp_path / "a.mp4", tmp_path / "link.mp4"
    clip.write_bytes(b"")
    link.symlink_to(clip)
    for path in (clip, link):
        output = {"video": {"path": str(path)}, "overwrite": True}
        assert "is also an input" in refused(output, "door", inputs=(clip,))


def test_a_folder_of_pictures_is_not_written_into(tmp_path: Path) -> None:
    """Rendered pictures go elsewhere than where the pictures come from."""
    assert "is also an input" in refused({"images": {"folder": str(tmp_path)}}, "door", inputs=(tmp_path,))


def test_a_path_that_is_wanted_twice_is_refused(tmp_path: Path) -> None:
    """Two outputs never write to one file."""
    path = str(tmp_path / "a.mp4")
    assert "twice" in refused({"jsonl": {"path": path}, "video": {"path": path}}, "door")


def test_a_folder_in_a_files_place_is_refused(tmp_path: Path) -> None:
    """A file cannot be written where there is a folder, nor the other way round."""
    (tmp_path / "file").write_text("")
    assert "is a folder" in refused({"jsonl": {"path": str(tmp_path)}}, "door")
    assert "is a file" in refused({"images": {"folder": str(tmp_path / "file")}}, "door")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_has_other_names(name: str) -> None:
    """What the system calls standard output is shared as `-` is, has no file of notes, and takes nothing but lines."""
    planned = plan({"jsonl": {"path": name}}, "front", "back")
    assert jsonl_paths(planned) == [Path("-"), Path("-")]
    assert [outputs.paths for outputs in planned] == [[], []]
    assert "is standard output, and takes lines only" in refused({"csv": {"path": name}}, "door")
    assert "is no MP4" in refused({"video": {"path": name}}, "door")


def test_a_patterns_own_pictures_are_inputs(tmp_path: Path) -> None:
    """Pictures are not written into a folder that a pattern looks in, where the next run would find them."""
    inner = tmp_path / "pictures" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.jpg").touch()
    for pattern in ("pictures/inner/*.jpg", "pictures/**/*.jpg"):
        output = {"overwrite": True, "images": {"folder": str(inner)}}
        assert "is also an input" in refused(output, "door", inputs=(tmp_path / pattern,))
    output = {"overwrite": True, "csv": {"path": str(inner / "a.jpg")}}
    assert "is also an input" in refused(output, "door", inputs=(inner / "*.jpg",))
    plan({"images": {"folder": str(tmp_path / "rendered")}}, "door", inputs=(inner / "*.jpg",))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "coco", "video", "images", "openpose_json"])
def test_an_address_is_no_output(kind: str) -> None:
    """An address in an output's place, as a forgotten path gives it, is refused without its password."""
    key = "folder" if kind in ("images", "openpose_json") else "path"
    line = refused({kind: {key: "rtsp://me:secret@door/{x}"}}, "door")
    # A video is refused for its name's end before that.
    assert "output rtsp://door/{x} is an address" in line or kind == "video"
    assert "secret" not in line


def test_standard_output_that_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever started the program without it gets no lines, and hears so before any work."""
    monkeypatch.setattr("sys.__stdout__", None)
    with pytest.raises(OutputError, match=r"^cannot write standard output: it is closed; open it, or write to a file$"):
        plan({"jsonl": {"path": "-"}}, "door")


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any work, also where the output's own folder is still to be made."""
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != closed)
    for output in ({"csv": {"path": str(closed / "a.csv")}}, {"images": {"folder": str(closed / "deep" / "er")}}):
        with pytest.raises(OutputError, match=r"^cannot write .*closed/.*: Permission denied; give a path you may"):
            plan(output, "door")
    plan({"csv": {"path": str(tmp_path / "open" / "a.csv")}}, "door")
