"""A drawn person that networks see as one: a picture that tests may have anywhere."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

#: The colours of the figure, BGR.
_SKIN, _SHADE, _SHIRT, _TROUSERS = (140, 170, 220), (110, 135, 185), (150, 60, 40), (60, 50, 50)
_SHOES, _HAIR, _WHITE, _PUPIL, _LIPS = (20, 20, 30), (30, 40, 60), (250, 250, 250), (30, 30, 30), (90, 90, 190)
#: The sky's and the ground's.
_ABOVE, _BELOW = (200, 190, 180), (90, 110, 100)

Point = tuple[int, int]


def draw_person(width: int = 480, height: int = 640, x: int = 240) -> NDArray[np.uint8]:
    """Draw somebody who stands at x and faces us, 540 pixels high from 45 to 590; the same pixels every time."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = (np.float32(_ABOVE) * (1 - down) + np.float32(_BELOW) * down).repeat(width, axis=1).astype(np.uint8)
    for side in (-1, 1):
        _limb(image, [(x + side * 26, 340), (x + side * 32, 450), (x + side * 34, 560)], _TROUSERS, 36)
        cv2.ellipse(image, (x + side * 42, 580), (26, 12), 0, 0, 360, _SHOES, -1)
    cv2.fillPoly(image, [np.array([(x - 58, 165), (x + 58, 165), (x + 48, 350), (x - 48, 350)], np.int32)], _SHIRT)
    for side in (-1, 1):
        _limb(image, [(x + side * 58, 180), (x + side * 82, 255)], _SHIRT, 32)
        _limb(image, [(x + side * 82, 255), (x + side * 90, 330)], _SKIN, 22)
        cv2.circle(image, (x + side * 91, 345), 14, _SKIN, -1)
    _head(image, x)
    return np.asarray(cv2.GaussianBlur(image, (5, 5), 0), np.uint8)


def _limb(image: NDArray[np.uint8], points: list[Point], color: tuple[int, int, int], thickness: int) -> None:
    for start, end in pairwise(points):
        cv2.line(image, start, end, color, thickness)
    for point in points:
        cv2.circle(image, point, thickness // 2, color, -1)


def _head(image: NDArray[np.uint8], x: int) -> None:
    cv2.rectangle(image, (x - 16, 130), (x + 16, 170), _SKIN, -1)
    cv2.ellipse(image, (x, 98), (36, 46), 0, 0, 360, _SKIN, -1)
    cv2.ellipse(image, (x, 78), (39, 34), 0, 180, 360, _HAIR, -1)
    for side in (-1, 1):
        cv2.ellipse(image, (x + side * 37, 100), (6, 12), 0, 0, 360, _SKIN, -1)
        cv2.ellipse(image, (x + side * 14, 94), (8, 4), 0, 0, 360, _WHITE, -1)
        cv2.circle(image, (x + side * 14, 94), 4, _PUPIL, -1)
        cv2.line(image, (x + side * 6, 84), (x + side * 22, 83), _HAIR, 3)
    cv2.line(image, (x, 98), (x - 4, 112), _SHADE, 3)
    cv2.ellipse(image, (x, 124), (14, 4), 0, 0, 180, _LIPS, 3)
