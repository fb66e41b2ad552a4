"""Group: field maps → people, the decoder of part affinity fields."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.group.decoder import View
from posestream.stages.group.implementation import make_decoder
from posestream.stages.group.settings import GroupSettings
from posestream.stages.items import FieldMaps, Person, Poses, Transform, frozen

__all__ = ["Group", "GroupSettings"]

#: Cells that maps may have across and down: positions between that many are still right to 1/1000 of a cell.
MOST_SIDE = 4096
#: In a picture with a shorter side, in pixels, nobody can be seen, whatever a network makes of it.
LEAST_SIDE_PX = 8


class Group:
    """Finds everybody in a frame's field maps. Deterministic: the same maps give the same people.

    After Cao et al., "OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", 2019, with
    changes that docs/grouping.md gives the reasons and the figures for. It may be used by several threads at once.

    Raises:
        SettingsError: the implementation that the settings ask for is not there, or nobody can have as many keypoints.
    """

    def __init__(self, layout: Layout, settings: GroupSettings | None = None) -> None:
        settings = settings or GroupSettings()
        settings.check_fits(layout)
        self._layout = layout
        self._decode = make_decoder(layout, settings)

    def __repr__(self) -> str:
        return f"<Group {self._layout.name} {self._decode.name}>"

    @property
    def implementation(self) -> str:
        """What does it: "compiled" or "numpy"."""
        return self._decode.name

    def __call__(self, maps: FieldMaps) -> Poses:
        """Group one frame's keypoints into people.

        Raises:
            ValueError: the maps' channels are not the layout's (heatmaps with or without the background, which is not
                looked at), or there are too many cells.
        """
        self._check(maps)
        if min(maps.transform.width_px, maps.transform.height_px) < LEAST_SIDE_PX or not maps.pafs_chw.size:
            return Poses(maps.key, ())
        heatmaps = _plain(maps.heatmaps_chw[: len(self._layout.keypoints)])
        found = self._decode(heatmaps, _plain(maps.pafs_chw), View.of(maps))
        people = tuple(map(Person, _placed(found.keypoints, maps.transform), found.scores.tolist()))
        return Poses(maps.key, people, found.truncated)

    def _check(self, maps: FieldMaps) -> None:
        heatmaps, pafs = maps.heatmaps_chw, maps.pafs_chw
        has_parts = len(heatmaps) in (len(self._layout.keypoints), self._layout.heatmap_count)
        if not has_parts or len(pafs) != self._layout.paf_count or heatmaps.shape[1:] != pafs.shape[1:]:
            shapes = f"{heatmaps.shape} and {pafs.shape}"
            raise ValueError(f"field maps of {shapes} are not those of layout {self._layout.name}")
        _, height, width = maps.pafs_chw.shape
        if max(height, width) > MOST_SIDE:
            raise ValueError(f"field maps of {height}×{width} cells are too large: take a smaller net_height")


def _placed(keypoints: NDArray[np.float32], transform: Transform) -> NDArray[np.float32]:
    """Give keypoints in the whole picture where the network saw a region of it only."""
    if not (transform.left_px or transform.top_px):
        return keypoints
    return frozen(keypoints + np.array([transform.left_px, transform.top_px, 0], np.float32))


def _plain(maps: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.require(maps, np.float32, ("C_CONTIGUOUS", "ALIGNED"))
