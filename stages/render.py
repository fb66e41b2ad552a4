"""Draws people onto pictures: limbs and joints coloured by side and part, and a label in a corner."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.items import Person, Poses

__all__ = ["Renderer", "label_text"]

Bgr = tuple[int, int, int]

#: A part's colour on the right side, then on the left (RGB): right is warm, left is cold, arms are yellower or greener,
#: legs are redder or bluer, and each goes further along its limb.
_SIDES = {
    "shoulder": (0xFFC81E, 0xC2F52F),
    "elbow": (0xFF9A14, 0x5BE85A),
    "wrist": (0xFF6A2B, 0x14D99A),
    "hip": (0xFF8FB4, 0x4DEBEB),
    "knee": (0xFF5A90, 0x3BB6FF),
    "ankle": (0xF0468C, 0x4F8BFF),
    "eye": (0xFFE2A0, 0xC4F4FF),
    "ear": (0xFFC27A, 0x8FDCFF),
}
#: The same for parts that have no line above, such as toes and heels.
_OTHER_SIDES = (0xD955C8, 0x8A78FF)
#: What belongs to neither side.
_MIDDLE = 0xF7F7F2
#: Around every limb and joint, so that it stands out from whatever is behind it.
_OUTLINE: Bgr = (28, 24, 22)
_LABEL_INK: Bgr = (255, 255, 255)

#: Bits of the fraction in the coordinates that OpenCV's drawing takes: a 16th of a pixel.
_SHIFT = 4
#: A limb's thickness as a part of the picture's diagonal: 8 px at 1768×994, 0.6 mm on a 6-inch phone.
_THICKNESS_PER_DIAGONAL = 0.004
#: A person less high than this part of the picture's height has thinner limbs, down to the least part.
_FULL_HEIGHT = 0.35
_LEAST_THICKNESS = 0.45
#: A joint's radius and an outline's width as parts of a limb's thickness.
_RADIUS = 0.8
_OUTLINE_WIDTH = 0.22
#: A keypoint with a lower score is not drawn.
_LEAST_SCORE = 0.05
#: A keypoint with a lower score is drawn faint: thinner, darker and without an outline.
_SURE_SCORE = 0.2
_FAINT = 0.6
#: The height of the label's text as a part of the picture's diagonal: 28 px at 1768×994, 2 mm on a 6-inch phone.
_LABEL_PER_DIAGONAL = 0.014
#: How dark the label's ground makes the picture behind it.
_LABEL_GROUND = 0.35
#: Keypoints further outside than this many picture sizes are not drawn; OpenCV's integers would overflow.
_FAR = 4.0


def label_text(rate_hz: float | None, people: int) -> str:
    """Say the frame rate (where known) and how many people there are."""
    count = "1 person" if people == 1 else f"{people} people"
    return count if rate_hz is None or not math.isfinite(rate_hz) else f"{rate_hz:.1f} fps  {count}"


class Renderer:
    """Draws the people of one keypoint layout.

    Colours come from the keypoints' names and the limbs from the layout, so any layout is drawn by the same lines.
    A limb that closes a loop, such as from an ear to a shoulder, helps grouping but is not drawn.
    """

    def __init__(self, layout: Layout) -> None:
        self._colours = [_colour(name) for name in layout.keypoints]
        self._faint = [_fainter(colour) for colour in self._colours]
        self._limbs = _tree(layout)

    def draw(self, picture_bgr: NDArray[np.uint8], poses: Poses, label: str = "") -> NDArray[np.uint8]:
        """Draw people and a label onto a picture (uint8 H×W×3, changed in place) and give it back."""
        height_px, width_px = picture_bgr.shape[:2]
        thickness_px = _THICKNESS_PER_DIAGONAL * math.hypot(width_px, height_px)
        # The best person comes first and is drawn last, on top.
        for person in reversed(poses.people):
            self._draw_person(picture_bgr, person, thickness_px)
        if label:
            _draw_label(picture_bgr, label)
        return picture_bgr

    def _draw_person(self, picture_bgr: NDArray[np.uint8], person: Person, thickness_px: float) -> None:
        """Draw one person: outlines first, then limbs, then joints."""
        height_px, width_px = picture_bgr.shape[:2]
        is_drawn = _drawable(person.keypoints, width_px, height_px)
        if not is_drawn.any():
            return
        # OpenCV's whole numbers are the pixels' centres.
        xy = np.where(is_drawn[:, np.newaxis], person.keypoints[:, :2] - 0.5, 0.0)
        points = np.rint(xy * (1 << _SHIFT)).astype(np.int32)
        is_sure = is_drawn & (person.keypoints[:, 2] >= _SURE_SCORE)
        tallness = float(np.ptp(xy[is_drawn], axis=0).max()) / (_FULL_HEIGHT * height_px)
        thickness_px *= min(1.0, max(_LEAST_THICKNESS, tallness))

        self._draw_outlines(picture_bgr, points, is_sure.tolist(), thickness_px)
        self._draw_limbs(picture_bgr, points, (is_drawn.tolist(), is_sure.tolist()), thickness_px)
        self._draw_joints(picture_bgr, points, (is_drawn.tolist(), is_sure.tolist()), thickness_px)

    def _draw_outlines(
        self, picture_bgr: NDArray[np.uint8], points: NDArray[np.int32], is_sure: list[bool], thickness_px: float
    ) -> None:
        """Draw the dark ground of all sure limbs and joints of one person."""
        limbs = [points[[first, second]] for first, second in self._limbs if is_sure[first] and is_sure[second]]
        edge_px = _OUTLINE_WIDTH * thickness_px
        width_px = _whole(thickness_px + 2 * edge_px)
        cv2.polylines(picture_bgr, limbs, False, _OUTLINE, width_px, cv2.LINE_AA, _SHIFT)
        radius = _fixed(_RADIUS * thickness_px + edge_px)
        for point, sure in zip(points.tolist(), is_sure, strict=True):
            if sure:
                cv2.circle(picture_bgr, point, radius, _OUTLINE, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def _draw_limbs(
        self,
        picture_bgr: NDArray[np.uint8],
        points: NDArray[np.int32],
        seen: tuple[list[bool], list[bool]],
        thickness_px: float,
    ) -> None:
        """Draw the limbs of one person, each in the colour of its far end."""
        is_drawn, is_sure = seen
        whole, faint = _whole(thickness_px), _whole(_FAINT * thickness_px)
        xy = points.tolist()
        for first, second in self._limbs:
            if not (is_drawn[first] and is_drawn[second]):
                continue
            sure = is_sure[first] and is_sure[second]
            colour = (self._colours if sure else self._faint)[second]
            cv2.line(picture_bgr, xy[first], xy[second], colour, whole if sure else faint, cv2.LINE_AA, _SHIFT)

    def _draw_joints(
        self,
        picture_bgr: NDArray[np.uint8],
        points: NDArray[np.int32],
        seen: tuple[list[bool], list[bool]],
        thickness_px: float,
    ) -> None:
        """Draw the joints of one person."""
        whole, faint = _fixed(_RADIUS * thickness_px), _fixed(_RADIUS * _FAINT * thickness_px)
        for number, (point, drawn, sure) in enumerate(zip(points.tolist(), *seen, strict=True)):
            if drawn:
                colour = (self._colours if sure else self._faint)[number]
                cv2.circle(picture_bgr, point, whole if sure else faint, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _drawable(keypoints: NDArray[np.float32], width_px: int, height_px: int) -> NDArray[np.bool_]:
    """Give K booleans: the keypoint was found, with enough score, and is not absurdly far outside."""
    size = np.array([width_px, height_px], np.float32)
    # Comparisons with NaN are false, so what was not found falls out by itself.
    is_near = (np.abs(keypoints[:, :2] - size / 2) <= _FAR * size).all(axis=1)
    drawable: NDArray[np.bool_] = is_near & (keypoints[:, 2] >= _LEAST_SCORE)
    return drawable


def _draw_label(picture_bgr: NDArray[np.uint8], label: str) -> None:
    """Write a label into the upper left corner, white on a darkened ground."""
    height_px, width_px = picture_bgr.shape[:2]
    text_px = max(9.0, _LABEL_PER_DIAGONAL * math.hypot(width_px, height_px))
    font = cv2.FONT_HERSHEY_DUPLEX
    weight = _whole(text_px / 14)
    scale = cv2.getFontScaleFromHeight(font, _whole(text_px), weight)
    (text_width_px, text_height_px), below_px = cv2.getTextSize(label, font, scale, weight)
    pad_px = _whole(text_px * 0.5)
    ground = picture_bgr[: text_height_px + below_px + 2 * pad_px, : text_width_px + 2 * pad_px]
    cv2.convertScaleAbs(ground, ground, _LABEL_GROUND, 0.0)
    origin = (pad_px, pad_px + text_height_px + below_px // 2)
    cv2.putText(picture_bgr, label, origin, font, scale, _LABEL_INK, weight, cv2.LINE_AA)


def _tree(layout: Layout) -> tuple[tuple[int, int], ...]:
    """Give the layout's limbs without those whose ends earlier ones have joined already."""
    group = list(range(len(layout.keypoints)))
    limbs = []
    for first, second in layout.limbs:
        old, new = group[second], group[first]
        if old != new:
            limbs.append((first, second))
            group = [new if each == old else each for each in group]
    return tuple(limbs)


def _colour(keypoint: str) -> Bgr:
    """Choose a keypoint's colour by its name."""
    side, _, part = keypoint.partition("_")
    if side not in ("right", "left"):
        return _bgr(_MIDDLE)
    right, left = _SIDES.get(part, _OTHER_SIDES)
    return _bgr(right if side == "right" else left)


def _bgr(rgb: int) -> Bgr:
    """Take a colour written as 0xRRGGBB apart."""
    return (rgb & 0xFF, rgb >> 8 & 0xFF, rgb >> 16)


def _fainter(colour: Bgr) -> Bgr:
    """Darken a colour."""
    blue, green, red = (round(_FAINT * value) for value in colour)
    return (blue, green, red)


def _whole(length_px: float) -> int:
    """Round a length to pixels, one at least."""
    return max(1, round(length_px))


def _fixed(length_px: float) -> int:
    """Turn a length into the fractions of a pixel that OpenCV's drawing takes, one pixel at least."""
    return round(max(1.0, length_px) * (1 << _SHIFT))
