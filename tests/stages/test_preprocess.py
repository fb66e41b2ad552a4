"""The letterbox and the network input made by it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestream.stages.errors import SettingsError
from posestream.stages.items import Frame, FrameKey
from posestream.stages.picture import ArrayPicture
from posestream.stages.preprocess import MAX_ASPECT, Preprocess, letterbox

SIZES = st.integers(1, 10000)


def frame_of(picture):
    """Put a picture into a frame."""
    width, height = (picture.width, picture.height) if picture else (0, 0)
    return Frame(FrameKey("a", 3), 0, 0, Fraction(1), 0.0, 0.0, width, height, picture)


def test_known_letterbox():
    """1768×994 at 256 is scaled to 455×256 and padded to 456×256."""
    box = letterbox(1768, 994, 256)
    assert (box.scaled_width_net, box.scaled_height_net, box.width_net, box.height_net) == (455, 256, 456, 256)
    assert (box.transform.scale_x, box.transform.scale_y) == (455 / 1768, 256 / 994)


@given(width=SIZES, height=SIZES, net_height=st.integers(1, 1000), multiple=st.sampled_from([1, 8, 16]))
def test_sizes(width, height, net_height, multiple):
    """Sizes are whole multiples, never zero, hold the scaled picture with less than one multiple of padding."""
    box = letterbox(width, height, net_height, multiple)
    for scaled, padded in ((box.scaled_width_net, box.width_net), (box.scaled_height_net, box.height_net)):
        assert padded % multiple == 0
        assert 1 <= scaled <= padded < scaled + multiple
    assert box.scaled_height_net <= net_height
    assert box.scaled_width_net <= MAX_ASPECT * net_height


@given(width=SIZES, height=SIZES, net_height=st.integers(8, 1000))
def test_true_scales(width, height, net_height):
    """Both axes' scales are what the rounded sizes make of them, within half a pixel of the one common scale."""
    box = letterbox(width, height, net_height)
    common = min(net_height / height, MAX_ASPECT * net_height / width)
    for scale, size in ((box.transform.scale_x, width), (box.transform.scale_y, height)):
        assert abs(scale * size - common * size) <= max(0.5, 1 - common * size) + 1e-6
    assert box.transform.scale_x * width == pytest.approx(box.scaled_width_net)
    assert box.transform.scale_y * height == pytest.approx(box.scaled_height_net)


@given(width=SIZES, height=SIZES, net_height=st.integers(8, 1000), x=st.floats(0, 1), y=st.floats(0, 1))
def test_inverse(width, height, net_height, x, y):
    """A point goes to the network's input and back to where it was."""
    transform = letterbox(width, height, net_height).transform
    x_px, y_px = x * width, y * height
    assert x_px * transform.scale_x / transform.scale_x == pytest.approx(x_px, rel=1e-12, abs=1e-9)
    assert y_px * transform.scale_y / transform.scale_y == pytest.approx(y_px, rel=1e-12, abs=1e-9)


def test_input_is_padded_with_zeros(media):
    """The picture lies at the top left, all else is zero, and nobody can write into it."""
    picture = ArrayPicture(np.full((994, 1768, 3), 200, np.uint8))
    result = Preprocess(250)(frame_of(picture))
    assert result.key == FrameKey("a", 3)
    assert result.image.shape == (256, 448, 3)
    assert (result.image[:250, :445] == 200).all()
    assert not result.image[250:].any()
    assert not result.image[:, 445:].any()
    assert not result.image.flags.writeable
    assert result.image.flags.c_contiguous


@pytest.mark.parametrize(("size", "shape"), [((1, 1), (64, 64, 3)), ((1, 900), (64, 8, 3)), ((4000, 10), (8, 256, 3))])
def test_extreme_shapes(size, shape):
    """One pixel, a pole and a ribbon all give a small, valid input."""
    picture = ArrayPicture(np.full((size[1], size[0], 3), 9, np.uint8))
    assert Preprocess(64)(frame_of(picture)).image.shape == shape


def test_undecodable_frames_are_refused():
    """A frame without a picture is the caller's mistake."""
    with pytest.raises(ValueError, match="could not be decoded"):
        Preprocess(64)(frame_of(None))


@pytest.mark.parametrize(("net_height", "multiple"), [(0, 8), (256, 0), (-8, 8)])
def test_impossible_sizes(net_height, multiple):
    """Sizes below one are refused when the stage is made."""
    with pytest.raises(SettingsError, match="is not possible"):
        Preprocess(net_height, multiple)
