"""How a stored picture is turned and mirrored to stand as players show it, read from a video's display matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, degrees

import cv2
import numpy as np
from av.sidedata.sidedata import SideData, SideDataContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

__all__ = ["UPRIGHT", "Orientation"]

#: By quarter turns counterclockwise, what cv2.rotate calls them.
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
#: cv2.flip's number for left and right changing places.
_LEFT_RIGHT = 1


@dataclass(frozen=True, slots=True)
class Orientation:
    """First mirrored (left and right change places) or not, then turned counterclockwise by quarters of a circle."""

    quarter_turns: int = 0
    is_mirrored: bool = False

    @classmethod
    def of_frame(cls, frame: VideoFrame) -> Orientation:
        """Read it from a frame's display matrix; without one, a frame stands upright.

        The matrix's first two rows and columns take a stored point (right, down) to where it is shown; a negative
        determinant is a mirror. Source: ISO/IEC 14496-12, section 6.2.2, and FFmpeg's libavutil/display.h.
        """
        try:
            # `frame.side_data` would be kept by the frame and keep it: a picture that only the garbage collector frees,
            # after hundreds of others.
            data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # PyAV's own annotations lack it
        except ValueError:
            # PyAV reads no side data of a frame that has some of a kind newer than itself, but always its angle.
            return cls(round(frame.rotation / 90) % 4)
        if not isinstance(data, SideData):
            return UPRIGHT
        a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).astype(float)
        is_mirrored = a * d - b * c < 0
        if is_mirrored:
            # Undoing the mirror, which is the first step, leaves the turn alone.
            a, b = -a, -b
        return cls(round(degrees(atan2(-b, a)) / 90) % 4, is_mirrored)

    @property
    def is_turned(self) -> bool:
        """True where the stored picture lies on its side, so that width and height change places."""
        return self.quarter_turns % 2 == 1

    def then_turned(self, clockwise_deg: int) -> Orientation:
        """Give what turns it once more, by a multiple of 90 degrees."""
        return Orientation((self.quarter_turns - clockwise_deg // 90) % 4, self.is_mirrored)

    def applied(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Give a stored picture as it is shown; itself where it stands upright already."""
        if self.is_mirrored:
            image = np.asarray(cv2.flip(image, _LEFT_RIGHT), np.uint8)
        if self.quarter_turns:
            image = np.asarray(cv2.rotate(image, _TURNS[self.quarter_turns]), np.uint8)
        return image


#: Of most videos.
UPRIGHT = Orientation()
