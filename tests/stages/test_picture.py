"""Pictures: the same content gives the same BGR, whatever it is stored as."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from posestream.stages.color import ColorTags, color_tags
from posestream.stages.orientation import UPRIGHT, Orientation
from posestream.stages.picture import ArrayPicture, VideoPicture

#: FFmpeg's numbers of matrices and ranges.
BT709, UNSPECIFIED, BT601, BT2020 = 1, 2, 6, 9
LIMITED, FULL = 1, 2
#: swscale's numbers of the same matrices, which PyAV's reformat takes.
SWS = {BT709: 1, BT601: 5, BT2020: 9}


@pytest.mark.parametrize("space", [BT601, BT709, BT2020])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("size", [(96, 64), (95, 63)])
def test_tagged_colours(media, space, color_range, pix_fmt, size):
    """A frame that says its matrix and range gives the colours that went in, at any size."""
    color = np.array([40, 90, 200], np.uint8)
    image = np.broadcast_to(color, (size[1], size[0], 3))
    frame = media.as_frame(image, pix_fmt, (SWS[space], color_range))
    frame.colorspace, frame.color_range = space, color_range
    picture = VideoPicture(frame)
    assert picture.tags == ColorTags(space, color_range)
    for got in (picture.bgr(), picture.scaled_bgr(32, 20), picture.scaled_bgr(31, 21)):
        assert abs(got.astype(int) - color).max() <= 3


@pytest.mark.parametrize(("size", "space"), [((720, 576), BT601), ((1280, 720), BT709), ((1440, 480), BT709)])
def test_untagged_colours(media, size, space):
    """Small video that says nothing is BT.601, large is BT.709, both of limited range, as players have it."""
    color = np.array([40, 90, 200], np.uint8)
    image = np.broadcast_to(color, (size[1], size[0], 3))
    frame = media.as_frame(image, "yuv420p", (SWS[space], LIMITED))
    frame.colorspace, frame.color_range = UNSPECIFIED, 0
    picture = VideoPicture(frame)
    assert (picture.tags.colorspace, picture.tags.color_range) == (space, LIMITED)
    assert abs(picture.bgr().astype(int) - color).max() <= 3


@pytest.mark.parametrize(("pix_fmt", "color_range"), [("yuvj420p", FULL), ("gray", FULL), ("yuv420p", LIMITED)])
def test_untagged_range(pix_fmt, color_range):
    """JPEG's formats and gray are of full range unless they say otherwise."""
    assert color_tags(VideoFrame(64, 48, pix_fmt)).color_range == color_range


def test_reading_leaves_the_tags(media):
    """Asking for pixels changes nothing in the frame, so that they can be asked for again."""
    frame = media.as_frame(media.smooth(64, 48), "yuv420p")
    frame.colorspace, frame.color_range = UNSPECIFIED, 0
    picture = VideoPicture(frame)
    first = picture.bgr()
    picture.scaled_bgr(31, 20)
    assert (frame.colorspace, frame.color_range) == (UNSPECIFIED, 0)
    assert np.array_equal(picture.bgr(), first)


@pytest.mark.parametrize("pix_fmt", ["bgr24", "gbrp", "yuv420p"])
@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 1)])
@pytest.mark.parametrize("orientation", [UPRIGHT, Orientation(1), Orientation(0, True), Orientation(3, True)])
def test_arrays_are_new_and_writable(media, pix_fmt, size, orientation):
    """Each array is the caller's own: contiguous, writable, and drawing on it does not reach the picture."""
    picture = VideoPicture(media.as_frame(media.smooth(*size), pix_fmt), orientation)
    for ask in (picture.bgr, lambda: picture.scaled_bgr(picture.width, picture.height)):
        image = ask()
        before = image.copy()
        assert image.shape == (picture.height, picture.width, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        image[:] = 255 - image
        assert np.array_equal(ask(), before)


def test_array_picture_is_kept(media):
    """A picture from an array gives its pixels unchanged, as a copy."""
    image = media.smooth(33, 21)
    picture = ArrayPicture(image.copy())
    got = picture.bgr()
    assert np.array_equal(got, image)
    got[:] = 0
    assert np.array_equal(picture.scaled_bgr(33, 21), image)


@pytest.mark.parametrize("size", [(456, 256), (455, 256), (114, 64)])
def test_file_and_video_give_the_same_input(media, size):
    """A picture and a lossless video of it give nearly the same network input, nearer than OpenCV's bilinear would."""
    image = media.smooth(1768, 994)
    frame = media.as_frame(image, "yuv444p", (SWS[BT709], LIMITED))
    from_video = VideoPicture(frame).scaled_bgr(*size).astype(int)
    from_file = ArrayPicture(image).scaled_bgr(*size).astype(int)
    from_cv2 = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).astype(int)
    assert abs(from_video - from_file).mean() < 1.5
    assert abs(from_video - from_file).mean() < abs(from_video - from_cv2).mean() / 3


def test_two_threads_may_ask(media):
    """Threads that ask one picture for different sizes at once get what each would have got alone."""
    frame = media.as_frame(media.smooth(640, 360), "yuv420p")
    frame.colorspace = UNSPECIFIED
    picture = VideoPicture(frame)
    alone = {size: picture.scaled_bgr(*size) for size in ((640, 360), (231, 131))}
    wrong: list[tuple[int, int]] = []

    def ask(size: tuple[int, int]) -> None:
        wrong.extend(size for _ in range(30) if not np.array_equal(picture.scaled_bgr(*size), alone[size]))

    threads = [threading.Thread(target=ask, args=(size,)) for size in alone for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
