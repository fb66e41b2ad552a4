"""From a frame to the network's input: scaled once, padded with zeros, and the way back kept exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posestream.stages.errors import SettingsError
from posestream.stages.items import Frame, NetInput, Picture, Transform, frozen

__all__ = ["Letterbox", "Preprocess", "letterbox"]

#: A network input is at most this many times as wide as its set height; a wider picture is scaled by its width.
#: Panoramas of two 16:9 cameras (3.6 : 1) still fit, and no picture can ask for an unbounded tensor.
MAX_ASPECT = 4


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in the network's input: at the top left, zeros to its right and below."""

    #: Size of the scaled picture in network input pixels.
    scaled_width_net: int
    scaled_height_net: int
    #: Size of the network's input, padding included.
    width_net: int
    height_net: int
    transform: Transform


def letterbox(width: int, height: int, net_height: int, multiple: int = 8, max_aspect: int = MAX_ASPECT) -> Letterbox:
    """Fit a picture of width×height into a network input of the given height.

    One scale for both axes (the height's, or the width's for a picture wider than `max_aspect`); then whole pixels,
    at least one; the transform keeps what that rounding made of each axis.
    """
    scale = min(net_height / height, max_aspect * net_height / width)
    scaled_width = max(1, round(width * scale))
    scaled_height = max(1, round(height * scale))
    return Letterbox(
        scaled_width,
        scaled_height,
        _rounded_up(scaled_width, multiple),
        _rounded_up(scaled_height, multiple),
        Transform(scaled_width / width, scaled_height / height, width, height),
    )


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


class Preprocess:
    """Makes each frame's network input.

    Args:
        net_height: height of the network's input in pixels, before padding.
        multiple: the input's height and width are multiples of this.

    Raises:
        SettingsError: a size below one.
    """

    def __init__(self, net_height: int, multiple: int = 8) -> None:
        if net_height < 1 or multiple < 1:
            raise SettingsError(f"a network input of height {net_height} in multiples of {multiple} is not possible")
        self._net_height = net_height
        self._multiple = multiple

    def __call__(self, frame: Frame) -> NetInput:
        """Scale and pad a frame whose picture could be decoded."""
        if frame.picture is None:
            raise ValueError("a frame that could not be decoded has no network input")
        picture, region, left, top = frame.picture, frame.region, 0, 0
        if region is not None:
            picture, left, top = picture.cropped(region), region.left, region.top
        box = letterbox(picture.width, picture.height, self._net_height, self._multiple)
        transform = replace(box.transform, left_px=left, top_px=top)
        return NetInput(frame.key, frozen(_padded(picture, box)), transform)


def _padded(picture: Picture, box: Letterbox) -> NDArray[np.uint8]:
    scaled = picture.scaled_bgr(box.scaled_width_net, box.scaled_height_net)
    if (box.scaled_width_net, box.scaled_height_net) == (box.width_net, box.height_net):
        return scaled
    image = np.zeros((box.height_net, box.width_net, 3), np.uint8)
    image[: box.scaled_height_net, : box.scaled_width_net] = scaled
    return image
