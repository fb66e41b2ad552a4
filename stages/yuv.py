"""BGR pictures as the YUV frames that a video encoder takes, all of one even size."""

from __future__ import annotations

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from posestream.stages.color import ColorTags

__all__ = ["YuvCanvas"]


class YuvCanvas:
    """Turns pictures into yuv420p frames of one size, with the matrix and range of the tags.

    Chroma has one value for two by two pixels, so the size is even: a picture whose own size is odd loses its last
    row or column. A picture of another size is scaled to fit and centred on black.
    """

    def __init__(self, width: int, height: int, tags: ColorTags) -> None:
        self.width = max(2, width - width % 2)
        self.height = max(2, height - height % 2)
        self._tags = tags
        self._reformatter = VideoReformatter()

    def paint(self, picture_bgr: NDArray[np.uint8]) -> VideoFrame:
        """Give a picture (uint8 H×W×3) as a new frame."""
        fitted = np.ascontiguousarray(self._fitted(picture_bgr))
        return self._reformatter.reformat(
            VideoFrame.from_ndarray(fitted, format="bgr24"),
            format="yuv420p",
            dst_colorspace=self._tags.colorspace,
            dst_color_range=self._tags.color_range,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
            threads=1,
        )

    def _fitted(self, picture_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Give a picture in the canvas's size."""
        height_px, width_px = picture_bgr.shape[:2]
        if (width_px - width_px % 2, height_px - height_px % 2) == (self.width, self.height):
            return picture_bgr[: self.height, : self.width]
        scale = min(self.width / width_px, self.height / height_px)
        width = min(self.width, max(1, round(width_px * scale)))
        height = min(self.height, max(1, round(height_px * scale)))
        canvas = np.zeros((self.height, self.width, 3), np.uint8)
        left, top = (self.width - width) // 2, (self.height - height) // 2
        # Area averaging where it gets smaller, so that fine patterns do not turn into waves.
        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        canvas[top : top + height, left : left + width] = cv2.resize(picture_bgr, (width, height), interpolation=method)
        return canvas
