"""What a decoder of part affinity fields is: what it is told beforehand, what it takes and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posestream.stages.items import FieldMaps

__all__ = ["MOST_FIELD", "Decoder", "Found", "View"]

#: Networks give values of about −1…1; one beyond this is as broken as one that is no number.
MOST_FIELD = 1e6


@dataclass(frozen=True, slots=True)
class View:
    """Where the picture lies in a frame's maps."""

    #: Source pixels per cell.
    x_px_per_cell: float
    y_px_per_cell: float
    #: Candidates from here on, in cells, belong to nothing in the picture.
    x_edge_map: float
    y_edge_map: float
    #: Size of the source picture.
    width_px: int
    height_px: int

    @classmethod
    def of(cls, maps: FieldMaps) -> View:
        """Give where the picture lies.

        A candidate less than a cell outside belongs to something at the picture's edge, and is put there in the end.
        """
        transform, stride = maps.transform, maps.stride
        return cls(
            stride / transform.scale_x,
            stride / transform.scale_y,
            transform.width_px * transform.scale_x / stride + 1,
            transform.height_px * transform.scale_y / stride + 1,
            transform.width_px,
            transform.height_px,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Everybody in a frame, the best score first."""

    #: N×K×3: x, y in source pixels, score; NaN where not found.
    keypoints: NDArray[np.float32]
    #: N, 0…1.
    scores: NDArray[np.float32]
    #: True where a bound cut something off.
    truncated: bool


class Decoder(Protocol):
    """Finds everybody in a frame's field maps. Any two give the same people, bit for bit, for the same maps."""

    #: What it is called in settings and reports.
    name: str

    def __call__(self, heatmaps_khw: NDArray[np.float32], pafs_chw: NDArray[np.float32], view: View) -> Found:
        """Decode K×h×w heatmaps, without the background, and C×h×w fields, C-contiguous.

        Values that are no numbers, infinite or beyond ±MOST_FIELD are taken for 0.
        """
