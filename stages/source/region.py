"""Where a region of interest lies in a picture: within it, with even edges, so that no colour is split."""

from __future__ import annotations

import logging

from posestream.stages.errors import SourceError
from posestream.stages.items import Picture, Region

__all__ = ["RegionOfInterest", "region_of"]

_log = logging.getLogger(__name__)


class RegionOfInterest:
    """Where a source's region of interest lies in each of its pictures; tells once what of it lies outside.

    Args:
        roi: left, top, width, height in pixels of the upright picture; None: no region, the whole picture.
        label: what the source is called.
    """

    def __init__(self, roi: tuple[int, int, int, int] | None, label: str) -> None:
        self._roi = roi
        self._label = label
        #: Of the last picture that something was told of.
        self._told_size: tuple[int, int] | None = None

    def check(self, picture: Picture) -> None:
        """Refuse a region of which nothing lies in a source's first picture.

        Raises:
            SourceError: that is so.
        """
        if self._roi is not None and region_of(self._roi, picture) is None:
            raise SourceError(f"{self._label}: {self._outside(picture)}")

    def of(self, picture: Picture) -> Region | None:
        """Give what of a picture is looked at, as `region_of` does."""
        if self._roi is None:
            return None
        region = region_of(self._roi, picture)
        left, top, width, height = self._roi
        is_cut = left + width > picture.width or top + height > picture.height
        size = (picture.width, picture.height)
        if is_cut and self._told_size != size:
            self._told_size = size
            then = "the whole picture is looked at" if region is None else "only what lies within is looked at"
            _log.warning("%s: %s; %s", self._label, self._outside(picture), then)
        return region

    def _outside(self, picture: Picture) -> str:
        is_whole = self._roi is not None and region_of(self._roi, picture) is None
        part = "" if is_whole else " partly"
        return f"roi = {list(self._roi or ())} lies{part} outside its picture of {picture.width}×{picture.height}"


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
