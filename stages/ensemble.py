"""Ensemble: one picture seen several times, mirrored and at several sizes, and the mean of what the network gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.errors import SettingsError
from posestream.stages.items import frozen
from posestream.stages.resample import cubic_matrix, resampled

__all__ = ["Ensemble", "EnsembleSettings", "Maps"]

#: The smallest scale that makes sense, and how many there may be: each is an inference more.
LEAST_SCALE = 0.1
MOST_SCALES = 8
#: How the names of keypoints on either side begin.
LEFT, RIGHT = "left_", "right_"

#: Heatmaps and PAFs, channels first.
Maps = tuple[NDArray[np.floating], NDArray[np.floating]]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSettings:
    """How often each picture is seen: scales × (2 if mirrored too, else 1) inferences."""

    #: True: the mirrored picture is seen too.
    flip: bool = False
    #: Sizes at which it is seen, as fractions of the network input; one of them is 1, the network input itself.
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not all(LEAST_SCALE <= scale <= 1 for scale in self.scales):
            raise SettingsError(f"network.scales = {list(self.scales)}: each is a fraction from {LEAST_SCALE} to 1")
        if 1 not in self.scales or len(set(self.scales)) < len(self.scales) or len(self.scales) > MOST_SCALES:
            raise SettingsError(
                f"network.scales = {list(self.scales)}: write different ones, at most {MOST_SCALES}, 1.0 among them"
            )


@dataclass(frozen=True, slots=True)
class _View:
    """One way to look at a picture."""

    scale: float
    is_mirrored: bool


class Ensemble:
    """Makes the pictures that are inferred for one network input, and one pair of maps from what they gave.

    After Cao et al. 2019 (several scales) and Newell et al., "Stacked Hourglass Networks", 2016 (mirrored pictures):
    the mean of the maps, at the cells of the network input. Deterministic, whatever order the inferences end in. It
    may be used by several threads at once.

    Args:
        layout: whose left and right change places in a mirrored picture, by their names.
        stride: network input pixels per cell.
        multiple: a picture's height and width are multiples of this and of the stride.
        settings: how often each picture is seen; by default once, as it is.
    """

    def __init__(self, layout: Layout, stride: int, multiple: int, settings: EnsembleSettings | None = None) -> None:
        settings = settings or EnsembleSettings()
        sides = (False, True) if settings.flip else (False,)
        # The picture itself comes first: the others' maps are brought to the size of its maps.
        scales = sorted(settings.scales, reverse=True)
        self._views = tuple(_View(scale, is_mirrored) for scale in scales for is_mirrored in sides)
        self._stride = stride
        self._multiple = multiple
        self._mirrored_heatmaps = mirrored_heatmaps(layout)
        self._mirrored_pafs, self._paf_signs = mirrored_pafs(layout)

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self._views)}>"

    @property
    def count(self) -> int:
        """How many inferences a picture takes."""
        return len(self._views)

    def view(self, image: Image, number: int) -> Image:
        """Give the picture for one inference, uint8 h×w×3, from the network input, uint8 H×W×3.

        A mirrored one is mirrored with its padding, so that cells lie on cells: left of the picture there are up to
        seven columns of zeros then, which is what a network takes for outside anyway.
        """
        view = self._views[number]
        if view.scale != 1:
            image = self._scaled(image, view.scale)
        return np.ascontiguousarray(image[:, ::-1]) if view.is_mirrored else image

    def mean(self, image: Image, outputs: Sequence[Maps]) -> Maps:
        """Give the mean of all views' maps, in the order of the views, at the cells of the network input."""
        if len(self._views) == 1:
            return outputs[0]
        plain = [self._plain(image, view, *maps) for view, maps in zip(self._views, outputs, strict=True)]
        heatmaps, pafs = (_mean(maps) for maps in zip(*plain, strict=True))
        return heatmaps, pafs

    def _plain(self, image: Image, view: _View, heatmaps: NDArray[np.floating], pafs: NDArray[np.floating]) -> Maps:
        """Undo what a view did to the picture."""
        if view.is_mirrored:
            heatmaps = heatmaps[self._mirrored_heatmaps, :, ::-1]
            pafs = pafs[self._mirrored_pafs, :, ::-1] * self._paf_signs[:, None, None]
        if view.scale == 1:
            return heatmaps, pafs
        height, width = image.shape[:2]
        scaled_height, scaled_width = _scaled_size(image, view.scale)
        matrices = (
            _resampling(height // self._stride, heatmaps.shape[1], scaled_height / height),
            _resampling(width // self._stride, heatmaps.shape[2], scaled_width / width),
        )
        return resampled(heatmaps.astype(np.float32), *matrices), resampled(pafs.astype(np.float32), *matrices)

    def _scaled(self, image: Image, scale: float) -> Image:
        """Scale a picture down, and pad it with zeros as the letterbox does."""
        height, width = _scaled_size(image, scale)
        rows, columns = (-(-size // self._multiple) * self._multiple for size in (height, width))
        padded = np.zeros((rows, columns, 3), np.uint8)
        padded[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return padded


def _scaled_size(image: Image, scale: float) -> tuple[int, int]:
    """Give height and width of a scaled picture without its padding: whole pixels, at least one."""
    return max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))


@lru_cache(maxsize=256)
def _resampling(size: int, from_size: int, scale: float) -> NDArray[np.float32]:
    """Give the size×from_size matrix that takes maps of a picture scaled by `scale` to the cells of the unscaled one.

    Cell i's centre is at i + 0.5 in both.
    """
    position = (np.arange(size, dtype=np.float64) + 0.5) * scale - 0.5
    return frozen(cubic_matrix(position, from_size).astype(np.float32))


def _mean(maps: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    total = maps[0].astype(np.float32)
    for more in maps[1:]:
        total += more
    total /= np.float32(len(maps))
    return total


def mirrored_heatmaps(layout: Layout) -> NDArray[np.intp]:
    """Give for each heatmap channel, background included, the one that it has in the mirrored picture."""
    return np.array([*_mirrored_keypoints(layout), len(layout.keypoints)], np.intp)


def mirrored_pafs(layout: Layout) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Give for each PAF channel the one that it has in the mirrored picture, and the sign of its values there.

    x components point the other way. Where the layout has the mirrored limb with its ends exchanged, both do.

    Raises:
        ValueError: a limb has no counterpart on the other side.
    """
    other = _mirrored_keypoints(layout)
    channels, signs = np.zeros(layout.paf_count, np.intp), np.ones(layout.paf_count, np.float32)
    channels_of = dict(zip(layout.limbs, layout.paf_channels, strict=True))
    for (start, end), (x, y) in channels_of.items():
        pair = (other[start], other[end])
        direction = 1 if pair in channels_of else -1
        mirrored = channels_of.get(pair) or channels_of.get(pair[::-1])
        if mirrored is None:
            names = f"{layout.keypoints[start]}-{layout.keypoints[end]}"
            raise ValueError(f"layout {layout.name} has no limb that mirrors {names}")
        channels[[x, y]] = mirrored
        signs[[x, y]] = (-direction, direction)
    return channels, signs


def _mirrored_keypoints(layout: Layout) -> list[int]:
    """Give for each keypoint the number of the one of the same name on the other side, or its own."""
    numbers = {name: number for number, name in enumerate(layout.keypoints)}
    return [numbers[_mirrored_name(name)] for name in layout.keypoints]


def _mirrored_name(name: str) -> str:
    for side, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
        if name.startswith(side):
            return other + name.removeprefix(side)
    return name
