"""How stored pictures are turned and mirrored; tests/stages/source/test_video.py has every display matrix in a file."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import NoReturn, cast

import numpy as np
import pytest
from av import VideoFrame

from posestream.stages.orientation import UPRIGHT, Orientation


def newer_side_data(frame: VideoFrame) -> NoReturn:
    """Meet side data of a kind that this PyAV does not know: asking for any of it fails."""
    raise ValueError("31 is not a valid Type")


def test_side_data_of_a_newer_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyAV cannot read a frame's side data, its angle still counts."""
    monkeypatch.setattr("posestream.stages.orientation.SideDataContainer", newer_side_data)
    turned = SimpleNamespace(rotation=-90)
    assert Orientation.of_frame(cast(VideoFrame, turned)) == Orientation(3)


def test_a_frame_that_was_asked_is_freed_at_once() -> None:
    """Asking leaves no frame to the garbage collector, which would keep hundreds of pictures."""
    gc.collect()
    gc.disable()
    try:
        before = frames_alive()
        for _ in range(5):
            Orientation.of_frame(VideoFrame(6, 4, "rgb24"))
        assert frames_alive() <= before  # what others left may be freed meanwhile
    finally:
        gc.enable()


def frames_alive() -> int:
    """Count the frames that have not been freed."""
    return sum(isinstance(thing, VideoFrame) for thing in gc.get_objects())


def test_a_frame_without_a_matrix_stands_upright() -> None:
    """Most frames tell nothing and are shown as they are stored, without a copy."""
    image = np.zeros((4, 6, 3), np.uint8)
    assert Orientation.of_frame(VideoFrame(6, 4, "rgb24")) is UPRIGHT
    assert UPRIGHT.applied(image) is image
