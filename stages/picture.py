"""Pictures as their decoders left them, made into BGR only when somebody asks, at the size that is asked for."""

from __future__ import annotations

from threading import Lock

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from posestream.stages.color import ColorTags, color_tags
from posestream.stages.items import Region
from posestream.stages.orientation import UPRIGHT, Orientation

__all__ = ["ArrayPicture", "VideoPicture"]


class VideoPicture:
    """A decoded video frame, scaled and converted straight from the decoder's own pixel format.

    Args:
        frame: the decoder's frame; it belongs to the picture from now on.
        orientation: what makes it upright.
    """

    __slots__ = ("_frame", "_lock", "_orientation", "_tags", "height", "width")

    def __init__(self, frame: VideoFrame, orientation: Orientation = UPRIGHT) -> None:
        self._frame = frame
        self._tags = color_tags(frame)
        # The reformatter writes colour tags into its source while it works, so two threads must not meet there.
        self._lock = Lock()
        self._orientation = orientation
        sizes = (frame.width, frame.height)
        self.width, self.height = reversed(sizes) if self.is_turned else sizes

    @property
    def is_turned(self) -> bool:
        """True where it lay on its side, so that width and height changed places."""
        return self._orientation.is_turned

    @property
    def tags(self) -> ColorTags:
        """How its YUV is meant."""
        return self._tags

    def scaled_bgr(self, width: int, height: int) -> NDArray[np.uint8]:
        """Give the upright picture scaled (bilinear) to height×width×3 BGR, a new C-contiguous array."""
        if self.is_turned:
            width, height = height, width
        with self._lock:
            image = _converted(self._frame, width, height, self._tags)
        return self._orientation.applied(image)

    def bgr(self) -> NDArray[np.uint8]:
        """Give the upright picture at full size as height×width×3 BGR, a new writable array."""
        return self.scaled_bgr(self.width, self.height)

    def cropped(self, region: Region) -> ArrayPicture:
        """Give a part of it as a picture of its own.

        PyAV offers no view into a frame, so a full BGR picture is made first; only who asks for a region pays for it.
        """
        rows = slice(region.top, region.top + region.height)
        return ArrayPicture(np.ascontiguousarray(self.bgr()[rows, region.left : region.left + region.width]))


class ArrayPicture:
    """A picture that is an array already: uint8 height×width×3 BGR, upright; it belongs to the picture from now on.

    It is scaled by the same code as video, because OpenCV's bilinear aliases where swscale's filters: a picture file
    and a video of it must give the network the same input.
    """

    __slots__ = ("_image", "height", "width")

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self._image = image
        self.height, self.width = image.shape[:2]

    def scaled_bgr(self, width: int, height: int) -> NDArray[np.uint8]:
        """Give the picture scaled (bilinear) to height×width×3 BGR, a new C-contiguous array."""
        if (width, height) == (self.width, self.height):
            return self.bgr()
        frame = VideoFrame.from_ndarray(self._image, format="bgr24")
        return _converted(frame, width, height, color_tags(frame))

    def bgr(self) -> NDArray[np.uint8]:
        """Give the picture at full size as height×width×3 BGR, a new writable array."""
        return np.array(self._image, order="C")

    def cropped(self, region: Region) -> ArrayPicture:
        """Give a part of it as a picture of its own."""
        rows = slice(region.top, region.top + region.height)
        return ArrayPicture(np.ascontiguousarray(self._image[rows, region.left : region.left + region.width]))


def _converted(frame: VideoFrame, width: int, height: int, tags: ColorTags) -> NDArray[np.uint8]:
    """Scale a frame to height×width×3 BGR, a new array.

    A reformatter is made for each use: that costs nothing measurable beside the scaling, and it must not be shared by
    threads. A scaled picture is made as planes and joined here, for swscale's packed BGR is either rough (even widths:
    1.4 ms, half the chroma, green 1.6 too low) or slow (odd widths: 3.4 ms); planes take 1.2 to 1.8 ms for any width
    and are exact (1768×994 to 456×256). At full size it is the other way round: exact planes take 10 ms, packed BGR
    2 to 3 ms and is about one level of 255 too dark.
    """
    is_planar = width % 2 == 1 or (width, height) != (frame.width, frame.height)
    is_yuv = not frame.format.is_rgb
    converted = VideoReformatter().reformat(
        frame,
        width,
        height,
        "gbrp" if is_planar else "bgr24",
        src_colorspace=tags.colorspace if is_yuv else None,
        src_color_range=tags.color_range if is_yuv else None,
        interpolation=Interpolation.BILINEAR,
        threads=1,
    )
    if not is_planar:
        return np.array(_rows(converted.planes[0], 3 * width)).reshape(height, width, 3)
    green, blue, red = (_rows(plane, width) for plane in converted.planes)
    return np.asarray(cv2.merge((blue, green, red)), np.uint8)


def _rows(plane: VideoPlane, row_bytes: int) -> NDArray[np.uint8]:
    """View a plane as an array of rows without the padding behind each."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, :row_bytes]
