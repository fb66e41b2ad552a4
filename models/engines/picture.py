"""Checks that a picture is one that a network takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec

__all__ = ["check_picture", "check_size"]


def check_picture(spec: NetworkSpec, image: NDArray[np.uint8]) -> tuple[int, int]:
    """Give a picture's height and width.

    Raises:
        EngineError: it is not uint8 H×W×3, or H or W is no multiple of what the network asks for.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise EngineError(f"{spec.name} takes uint8 H×W×3, not {image.dtype} {'×'.join(map(str, image.shape))}")
    height, width = image.shape[:2]
    check_size(spec, height, width)
    return height, width


def check_size(spec: NetworkSpec, height: int, width: int) -> None:
    """Raise EngineError where the network does not take pictures of this size."""
    multiple = spec.input.multiple
    if height < 1 or width < 1 or height % multiple or width % multiple:
        raise EngineError(f"{spec.name} takes sizes in multiples of {multiple}, not {width}×{height}")
