"""Rendered pictures as files: their names, their formats, and what failing says."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.items import Drop, Frame, FrameKey, Poses, Reason, Stage
from posestream.stages.output.images import ImagesSettings, ImagesSink
from posestream.stages.output.sink import Ended

#: Every frame tells its source: this output looks at nothing else of it.
NO_INFO = cast(Any, None)


def an_ended(seq: int, name: str | None = None, is_dropped: bool = False) -> Ended:
    """Give a frame that ended."""
    key = FrameKey("door", seq)
    frame = Frame(key, 0, None if name else seq, Fraction(1, 30), 0.0, 0.0, 64, 48, None, name)
    return Ended(frame, Drop(key, Stage.DISPATCH, Reason.NEWER) if is_dropped else Poses(key, ()), {})


def a_picture() -> np.ndarray:
    """Give a picture with an edge."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = (200, 100, 50)
    return picture


@pytest.mark.parametrize(("kind", "error"), [("jpg", 2.0), ("png", 0.0)])
def test_a_video_has_a_file_per_picture(tmp_path: Path, kind: str, error: float) -> None:
    """Each frame with a picture has a file, dropped or not, that opens as what was drawn."""
    sink = ImagesSink(ImagesSettings(tmp_path / "new", kind))
    sink.open(NO_INFO)
    sink.write(an_ended(0), a_picture())
    sink.write(an_ended(1, is_dropped=True), a_picture())
    sink.write(an_ended(2, is_dropped=True), None)
    sink.close()

    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [f"door_00000000000{n}_rendered.{kind}" for n in (0, 1)]
    assert np.abs(cv2.imread(str(files[0])).astype(int) - a_picture()).mean() <= error
    assert sink.paths == (tmp_path / "new",)


def test_a_picture_keeps_its_name(tmp_path: Path) -> None:
    """A picture's rendered file has its stem, in the folder it was found in."""
    sink = ImagesSink(ImagesSettings(tmp_path))
    sink.open(NO_INFO)
    sink.write(an_ended(0, "day 1/a.png"), a_picture())

    assert (tmp_path / "day 1" / "a_rendered.jpg").is_file()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """A format that is not offered is refused before any work, with those that are."""
    with pytest.raises(SettingsError, match="jpg, png"):
        ImagesSettings(tmp_path, "gif")


def test_a_picture_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    """A picture that the format cannot hold is an error of one line."""
    sink = ImagesSink(ImagesSettings(tmp_path))
    sink.open(NO_INFO)

    with pytest.raises(OutputError, match=r"^cannot write pictures to [^\n]*70000×1[^\n]*$"):
        sink.write(an_ended(0), np.zeros((1, 70_000, 3), np.uint8))

    assert list(tmp_path.iterdir()) == []
