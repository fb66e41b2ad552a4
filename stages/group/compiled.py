"""The decoder in C: the same people as the one in NumPy, bit for bit, in a fraction of its time."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout
from posestream.stages.group.decoder import Found, View
from posestream.stages.group.settings import GroupSettings
from posestream.stages.group.zoom import zoom_taps
from posestream.stages.items import frozen

__all__ = ["CompiledDecoder", "NotCompiledError", "load"]

MODULE = "posestream.stages.group._compiled"
#: What this file expects of the module, which may have been left by an earlier version.
INTERFACE = 2
#: What a user can do.
_HELP = "install a C compiler and Python's headers, then install posestream again"


class NotCompiledError(Exception):
    """The compiled decoder is not here, or cannot be loaded; its text says why and what to do."""

    def __init__(self, why: str, *, is_broken: bool) -> None:
        super().__init__(f"{why}: {_HELP}")
        self.why, self.advice = why, _HELP
        #: True where there is one that should have been fit for use.
        self.is_broken = is_broken


class CompiledDecoder:
    """Decodes in one call that releases the GIL.

    Raises:
        NotCompiledError: it is not there.
    """

    name = "compiled"

    def __init__(self, layout: Layout, settings: GroupSettings) -> None:
        self._decode = load().decode
        self._parts = len(layout.keypoints)
        pairs = zip(layout.limbs, layout.paf_channels, strict=True)
        self._limbs = frozen(np.array([(*limb, *channels) for limb, channels in pairs], np.int32))
        self._settings = (
            settings.peak_threshold,
            settings.limb_threshold,
            settings.least_score,
            settings.least_agreeing,
            settings.least_parts,
            settings.most_people,
            settings.most_peaks_per_part,
            settings.single_person,
        )

    def __call__(self, heatmaps_khw: NDArray[np.float32], pafs_chw: NDArray[np.float32], view: View) -> Found:
        """Decode one frame's maps."""
        _, height, width = heatmaps_khw.shape
        keypoints, scores, truncated = self._decode(
            heatmaps_khw,
            pafs_chw,
            zoom_taps(width),
            zoom_taps(height),
            self._limbs,
            self._settings,
            (
                view.x_px_per_cell,
                view.y_px_per_cell,
                view.x_edge_map,
                view.y_edge_map,
                view.width_px,
                view.height_px,
            ),
        )
        # Bytes cannot be written to, nor can arrays of them.
        found = np.frombuffer(keypoints, np.float32).reshape(-1, self._parts, 3)
        return Found(found, np.frombuffer(scores, np.float32), truncated)


def load() -> ModuleType:
    """Import the compiled module.

    Raises:
        NotCompiledError: it is not there, of another version, or cannot be loaded.
    """
    try:
        module = importlib.import_module(MODULE)
    except ModuleNotFoundError as error:
        raise NotCompiledError("nothing was compiled when posestream was installed", is_broken=False) from error
    except ImportError as error:
        raise NotCompiledError(f"the compiled module cannot be loaded ({error})", is_broken=True) from error
    if getattr(module, "INTERFACE", None) != INTERFACE:
        raise NotCompiledError("the compiled module is of another version", is_broken=True)
    return module
