"""Which YUV colours a stream means: matrix and range, guessed as players do where the stream does not say."""

from __future__ import annotations

from dataclasses import dataclass

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

__all__ = ["ColorTags", "color_tags"]

#: FFmpeg's numbers (AVColorSpace) for "RGB" and "unspecified".
_SPACE_RGB, _SPACE_UNSPECIFIED = 0, 2
#: FFmpeg's numbers (AVColorSpace) of the matrices of SD and HD television.
_SPACE_BT709, _SPACE_BT601 = 1, 6
#: The largest SD picture (PAL); anything larger is taken for HD, as players commonly do.
_SD_WIDTH_PX, _SD_HEIGHT_PX = 1279, 576


@dataclass(frozen=True, slots=True)
class ColorTags:
    """How a stream's YUV is meant, in FFmpeg's numbers; a recorder that writes with these does not shift colours."""

    #: AVColorSpace, the matrix; never unspecified.
    colorspace: int
    #: AVColorRange: 1 limited (MPEG), 2 full (JPEG); never unspecified.
    color_range: int
    #: AVColorPrimaries as the stream tells it; 2 is unspecified.
    primaries: int = 2
    #: AVColorTransferCharacteristic as the stream tells it; 2 is unspecified.
    transfer: int = 2

    @classmethod
    def of_size(cls, width: int, height: int) -> ColorTags:
        """Tell what a player takes for granted of a video of this size that says nothing (also used for pictures)."""
        is_sd = width <= _SD_WIDTH_PX and height <= _SD_HEIGHT_PX
        return cls(_SPACE_BT601 if is_sd else _SPACE_BT709, int(ColorRange.MPEG))


def color_tags(frame: VideoFrame) -> ColorTags:
    """Tell how a decoded frame's YUV is meant; of an RGB frame, how it is best written as YUV."""
    guess = ColorTags.of_size(frame.width, frame.height)
    if frame.format.is_rgb:
        return guess
    is_known = frame.colorspace not in (_SPACE_RGB, _SPACE_UNSPECIFIED)
    color_range = frame.color_range
    if color_range not in (ColorRange.MPEG, ColorRange.JPEG):
        # The "j" formats are JPEG's full range by definition, and FFmpeg takes gray for full as well.
        is_full = frame.format.name.startswith(("yuvj", "gray"))
        color_range = int(ColorRange.JPEG if is_full else ColorRange.MPEG)
    return ColorTags(
        colorspace=frame.colorspace if is_known else guess.colorspace,
        color_range=color_range,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
    )
