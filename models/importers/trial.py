"""A network's first inference, before it is installed: whatever its record says of it must be true."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from posestream.models.engines import devices_of, open_engine
from posestream.models.engines.base import Completed, Engine
from posestream.models.errors import EngineError, ModelError
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights

__all__ = ["try_network"]

#: Families that a network is tried on, the first of these that can run it and is here: those that open at once first.
_FAMILIES = ("cpu", "ort-cpu", "opencv-cpu", "cuda", "opencv-cuda", "intel-gpu", "npu", "tensorrt")
#: The picture is at least so high, in pixels, and one step wider, so that its sizes cannot be taken for each other.
_HEIGHT = 64
#: Longest wait for the inference, in seconds.
_PATIENCE_S = 300.0

_log = logging.getLogger(__name__)


def try_network(spec: NetworkSpec, files: Sequence[Path]) -> None:
    """Run a network once on a small picture.

    Where no device of this machine can run it, that is logged and nothing is tried.

    Raises:
        ModelError: it cannot be run, or its maps are not those that its record promises; the text says what they are.
    """
    able = (device for family in _FAMILIES if family in spec.devices for device in devices_of(family))
    device = next(able, None)
    if device is None:
        _log.warning("%s was not tried: none of %s is here", spec.name, ", ".join(spec.devices))
        return
    step = spec.input.multiple
    height = -(-_HEIGHT // step) * step
    width = height + step
    try:
        with closing(open_engine(spec, Weights(spec, tuple(files)), device, requests=1, batch=1)) as engine:
            done = _infer(engine, height, width)
    except EngineError as error:
        raise ModelError(f"{spec.name} cannot be run on {device} as its record says: {error}") from error
    cells = (height // spec.stride, width // spec.stride)
    for what, output, maps in (("heatmaps", spec.heatmaps, done.heatmaps_chw), ("pafs", spec.pafs, done.pafs_chw)):
        if maps.shape != (output.count, *cells):
            raise ModelError(
                f"{spec.name}: a picture of {width}×{height} gives {what} of {_size(maps.shape)} (channels, height, "
                f"width), and the record promises {_size((output.count, *cells))}: its stride, layout or channels are "
                "others, or a pool or pad makes the maps of another size"
            )
        if not np.isfinite(maps).all():
            raise ModelError(f"{spec.name}: its {what} are not finite: the weights or input.scale are wrong")


def _infer(engine: Engine, height: int, width: int) -> Completed:
    """Run one picture of noise."""
    engine.prepare(height, width)
    engine.submit([0], [np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)])
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        select.select([engine.fileno()], [], [], 1.0)
        if done := engine.completed():
            return done[0]
    raise EngineError(f"{engine.description} has not finished one inference within {_PATIENCE_S:g} s")


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
