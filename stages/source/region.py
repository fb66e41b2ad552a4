"""Where a region of interest lies in a picture: within it, with even edges, so that no colour is split."""

from __future__ import annotations

from posestream.stages.items import Picture, Region

__all__ = ["region_of"]


def region_of(roi: tuple[int, int, int, int], picture: Picture) -> Region | None:
    """Give the part of a picture that a region of interest (left, top, width, height in pixels) covers, edges even.

    Outwards to even numbers, and cut at the picture's edges. None, which is the whole picture, where nothing of the
    region lies within: the picture has become another one than the region was made for.
    """
    left, right = _span(roi[0], roi[0] + roi[2], picture.width)
    top, bottom = _span(roi[1], roi[1] + roi[3], picture.height)
    if right <= left or bottom <= top:
        return None
    return Region(left, top, right - left, bottom - top)


def _span(low: int, high: int, limit: int) -> tuple[int, int]:
    return low - low % 2, min(high + high % 2, limit)
