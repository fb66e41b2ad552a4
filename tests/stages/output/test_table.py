"""The table of outputs, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestream.stages.errors import SettingsError
from posestream.stages.output.display import DisplaySettings, DisplaySink
from posestream.stages.output.images import ImagesSettings, ImagesSink
from posestream.stages.output.jsonl import JsonlSettings, JsonlSink
from posestream.stages.output.openpose import OpenPoseSettings, OpenPoseSink
from posestream.stages.output.table import PICTURE_SINKS, SINKS, check_outputs, picture_sink, sink
from posestream.stages.output.video import VideoSettings, VideoSink


def test_settings_make_their_sink() -> None:
    """Each settings class makes its own kind of output, and every kind has a name of its own."""
    assert isinstance(sink(JsonlSettings(Path("a.jsonl"))), JsonlSink)
    assert isinstance(sink(OpenPoseSettings(Path("a"))), OpenPoseSink)
    assert isinstance(picture_sink(VideoSettings(Path("a.mp4"))), VideoSink)
    assert isinstance(picture_sink(ImagesSettings(Path("a"))), ImagesSink)
    assert isinstance(picture_sink(DisplaySettings()), DisplaySink)
    names = [kind.name for kind in (*SINKS, *PICTURE_SINKS)]
    assert names == ["jsonl", "openpose", "coco", "csv", "video", "images", "display"]


def test_free_outputs_pass(tmp_path: Path) -> None:
    """Outputs that are in nobody's way pass, and checking them creates nothing."""
    check_outputs(
        [
            JsonlSettings(tmp_path / "a.jsonl"),
            JsonlSettings(Path("-")),
            OpenPoseSettings(tmp_path / "files"),
            ImagesSettings(tmp_path / "files"),
            VideoSettings(tmp_path / "a.mp4"),
            DisplaySettings(),
        ],
        overwrite=False,
        inputs=[tmp_path / "in.mp4"],
    )

    assert list(tmp_path.iterdir()) == []


def test_outputs_in_the_way_are_refused(tmp_path: Path) -> None:
    """Each kind of output is refused where it would overwrite its like, unless that is allowed."""
    for name in ("a.jsonl", "a.mp4", "a_keypoints.json", "a_rendered.png"):
        (tmp_path / name).touch()

    for settings in (
        JsonlSettings(tmp_path / "a.jsonl"),
        VideoSettings(tmp_path / "a.mp4"),
        OpenPoseSettings(tmp_path),
        ImagesSettings(tmp_path, "png"),
    ):
        with pytest.raises(SettingsError, match="--overwrite"):
            check_outputs([settings], overwrite=False)
        check_outputs([settings], overwrite=True)
    check_outputs([ImagesSettings(tmp_path, "jpg")], overwrite=False)


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    """A film or a folder that is read is refused as an output even when overwriting is allowed."""
    film = tmp_path / "a.mp4"
    film.touch()

    for settings, source in ((VideoSettings(film), film), (ImagesSettings(tmp_path), tmp_path)):
        with pytest.raises(SettingsError, match="also an input"):
            check_outputs([settings], overwrite=True, inputs=iter([source]))


def test_two_outputs_never_share_a_file(tmp_path: Path) -> None:
    """Two outputs to the same file are refused, also under different spellings."""
    with pytest.raises(SettingsError, match="twice"):
        check_outputs([JsonlSettings(tmp_path / name) for name in ("a.jsonl", "b/../a.jsonl")], overwrite=True)


def test_several_sources_may_share_standard_output() -> None:
    """The lines of several sources can go to standard output: each one names its source."""
    check_outputs([JsonlSettings(Path("-")), JsonlSettings(Path("-"))], overwrite=False)
