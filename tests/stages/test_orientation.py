"""How stored pictures are turned and mirrored; tests/stages/source/test_video.py has every display matrix in a file."""

from __future__ import annotations

from typing import cast

import numpy as np
from av import VideoFrame

from posestream.stages.orientation import UPRIGHT, Orientation


class NewerFrame:
    """A frame with side data of a kind that this PyAV does not know: asking for any of it fails."""

    rotation = -90

    @property
    def side_data(self) -> object:
        raise ValueError("31 is not a valid Type")


def test_side_data_of_a_newer_kind() -> None:
    """Where PyAV cannot read a frame's side data, its angle still counts."""
    assert Orientation.of_frame(cast(VideoFrame, NewerFrame())) == Orientation(3)


def test_a_frame_without_a_matrix_stands_upright() -> None:
    """Most frames tell nothing and are shown as they are stored, without a copy."""
    image = np.zeros((4, 6, 3), np.uint8)
    assert Orientation.of_frame(VideoFrame(6, 4, "rgb24")) is UPRIGHT
    assert UPRIGHT.applied(image) is image
