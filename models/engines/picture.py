"""Checks that pictures are what a network takes, and an engine together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec

__all__ = ["check_batch", "check_picture", "check_size"]


def check_batch(
    spec: NetworkSpec, tickets: Sequence[int], images: Sequence[NDArray[np.uint8]], batch: int
) -> tuple[int, int]:
    """Give the height and width of pictures that are to be inferred together.

    Raises:
        EngineError: there are none or more than `batch`, not as many as tickets, of several sizes, or none that the
            network takes.
    """
    if not 1 <= len(images) <= batch or len(images) != len(tickets):
        raise EngineError(f"{len(images)} pictures with {len(tickets)} tickets: it takes 1 to {batch} together")
    sizes = [check_picture(spec, image) for image in images]
    if len(set(sizes)) > 1:
        raise EngineError(f"pictures of {len(set(sizes))} sizes together: it takes those of one size only")
    return sizes[0]


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
