"""Where a region of interest lies in a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestream.stages.errors import SourceError
from posestream.stages.items import Frame, FrameKey, Region
from posestream.stages.picture import ArrayPicture
from posestream.stages.preprocess import Preprocess
from posestream.stages.source.opening import SourceSettings, open_source
from posestream.stages.source.region import region_of


def picture(width, height):
    """Make a picture that tells each pixel's place: x in blue, y in green."""
    y, x = np.mgrid[0:height, 0:width]
    return ArrayPicture(np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8))


@given(
    st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(1, 200), st.integers(1, 200)),
    st.integers(1, 120),
    st.integers(1, 120),
)
def test_it_covers_what_was_asked_for(roi, width, height):
    """A region begins at even pixels, covers all that was asked for within the picture, and hardly more."""
    region = region_of(roi, picture(width, height))
    left, top, wide, high = roi
    if region is None:
        assert left >= width or top >= height
        return
    assert (region.left % 2, region.top % 2) == (0, 0)
    assert left - 1 <= region.left <= left
    assert top - 1 <= region.top <= top
    assert min(left + wide, width) <= region.left + region.width <= min(left + wide + 1, width)
    assert min(top + high, height) <= region.top + region.height <= min(top + high + 1, height)


def test_the_network_sees_the_region(media):
    """The network's input is the region alone, and its way back leads to the whole picture."""
    frame = Frame(FrameKey("a", 0), 0, 0, 1, 0.0, 0.0, 100, 80, picture(100, 80), region=Region(20, 40, 64, 32))
    net_input = Preprocess(32, 8)(frame)
    assert net_input.image.shape == (32, 64, 3)
    assert net_input.image[0, 0].tolist() == [20, 40, 0]
    assert net_input.image[31, 63].tolist() == [83, 71, 0]
    transform = net_input.transform
    assert (transform.left_px, transform.top_px, transform.width_px, transform.height_px) == (20, 40, 64, 32)


@pytest.mark.parametrize("name", ["clip.mp4", "still.png"])
def test_sources_turn_and_mark(media, tmp_path, name):
    """Videos and pictures are turned clockwise as wished, and the region counts in the upright picture."""
    if name == "clip.mp4":
        media.write_video(tmp_path / name, [media.cornered(96, 64)] * 2)
    else:
        import cv2  # noqa: PLC0415 — used here only

        cv2.imwrite(str(tmp_path / name), media.cornered(96, 64))
    with open_source(SourceSettings(str(tmp_path / name), rotation=90, roi=(0, 50, 64, 300))) as source:
        info = source.open()
        frame = next(source.frames())
    assert (info.width, info.height, frame.width, frame.height) == (64, 96, 64, 96)
    image = frame.picture.bgr().astype(int)
    # What was at the top left is at the top right, what was at the top right at the bottom right.
    assert image[4, -4, 2] > 150 > image[4, 4, 2]
    assert image[-4, -4, 1] > 150 > image[4, -4, 1]
    assert frame.region == Region(0, 50, 64, 46)
    assert frame.picture.cropped(frame.region).bgr().shape == (46, 64, 3)


def test_what_lies_outside_is_told(media, tmp_path, caplog):
    """A region that is cut at the picture's edge is told once; one of which nothing is left fails the source."""
    clip = media.write_video(tmp_path / "clip.mp4", [media.cornered(96, 64)] * 3)
    with open_source(SourceSettings(str(clip), roi=(64, 0, 64, 64))) as source:
        source.open()
        assert {frame.region for frame in source.frames()} == {Region(64, 0, 32, 64)}
    assert [record.getMessage() for record in caplog.records] == [
        "clip: roi = [64, 0, 64, 64] lies partly outside its picture of 96×64; only what lies within is looked at"
    ]
    with (
        open_source(SourceSettings(str(clip), roi=(96, 0, 64, 64))) as source,
        pytest.raises(SourceError, match=r"^clip: roi = .* lies outside its picture of 96×64$"),
    ):
        source.open()
