"""An engine that only pretends: it answers after a chosen time without using the CPU, to measure everything else."""

from __future__ import annotations

import math
import threading
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Completed
from posestream.models.engines.fake import empty_fields
from posestream.models.engines.mailbox import Mailbox
from posestream.models.engines.picture import check_picture, check_size
from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights

__all__ = ["SimulatedEngine", "check", "devices", "open_engine"]

#: Pictures that it takes at once: it works on one, the next one waits beside it, as real accelerators do.
_CAPACITY = 2
#: Longest service time in seconds; more is a slip of the pen.
_MAX_SERVICE_S = 60.0

Maps = tuple[NDArray[np.floating], NDArray[np.floating]]


def devices(family: str) -> tuple[str, ...]:  # noqa: ARG001 - what every engine's module offers
    """Give none: nobody shall meet it in a list and take it for a real one."""
    return ()


def check(device: str) -> None:
    """Make sure that a device string is right: `simulated:MILLISECONDS`, or `simulated:MILLISECONDS:MAPS.npz`.

    Raises:
        EngineError: it is not; the text says how to write it.
    """
    _parsed(device)


def open_engine(
    spec: NetworkSpec,
    weights: Weights,  # noqa: ARG001 - the network is not run
    device: str,
    precision: str,  # noqa: ARG001 - nor has it a precision
    requests: int,
) -> SimulatedEngine:
    """Open a device that pretends to run the network.

    Raises:
        EngineError: the device string or its file of maps cannot be used.
    """
    service_s, path = _parsed(device)
    return SimulatedEngine(spec, device, service_s, _recorded(spec, path) if path else None, requests)


@dataclass(frozen=True, slots=True)
class _Running:
    ticket: int
    image: NDArray[np.uint8]
    submitted_s: float
    due_s: float


class SimulatedEngine:
    """Ends one inference every `service_s` seconds while it has work, in a thread that sleeps in between.

    An inference is due that long after it began, which is when the one before it was due: so the rate is exact
    however late the thread is woken.

    Args:
        spec: the network it pretends to run.
        device: the device string that chose it.
        service_s: time of one inference, in seconds.
        recorded: what it answers: N×(K + 1)×h×w heatmaps and N×2L×h×w PAFs, of which each picture gets those that
            its content chooses, so that the same picture always has the same answer; None: it finds nobody.
        requests: pictures at once; 0 is two.
    """

    def __init__(
        self, spec: NetworkSpec, device: str, service_s: float, recorded: Maps | None = None, requests: int = 0
    ) -> None:
        self._spec = spec
        self._device = device
        self._service_s = service_s
        self._recorded = recorded
        self._fields: Callable[[NDArray[np.uint8]], Maps] = self._replay if recorded else empty_fields(spec)
        self._capacity = requests or _CAPACITY
        self._running: deque[_Running] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._last_due_s = 0.0
        #: Submitted and not yet taken; of the owner's thread alone.
        self._held = 0
        self._done: Mailbox[Completed] = Mailbox()
        self._thread = threading.Thread(target=self._run, name="simulated", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"SimulatedEngine({self._spec.name}, {self._held}/{self._capacity} running)"

    @property
    def device(self) -> str:
        """The device string that chose it."""
        return self._device

    @property
    def description(self) -> str:
        """Says that nothing is computed, and how long that takes."""
        return f"simulated device, {self._service_s * 1000:g} ms, no network is run"

    @property
    def capacity(self) -> int:
        """How many pictures it takes at once."""
        return self._capacity

    def prepare(self, height: int, width: int) -> None:
        """Check the size; nothing is compiled."""
        check_size(self._spec, height, width)
        if self._recorded is not None:
            rows, columns = self._recorded[0].shape[2:]
            stride = self._spec.stride
            if (rows * stride, columns * stride) != (height, width):
                raise EngineError(
                    f"device {self._device}: its maps are of {columns * stride}×{rows * stride} pictures, "
                    f"not of {width}×{height}"
                )

    def submit(self, ticket: int, image: NDArray[np.uint8]) -> None:
        """Take a picture."""
        self.prepare(*check_picture(self._spec, image))
        if self._held >= self._capacity:
            raise EngineError(f"all {self._capacity} requests are busy: take the completed ones first")
        self._held += 1
        now_s = time.monotonic()
        self._last_due_s = max(self._last_due_s, now_s) + self._service_s
        with self._changed:
            self._running.append(_Running(ticket, image, now_s, self._last_due_s))
            if len(self._running) == 1:  # else it sleeps until an earlier one is due
                self._changed.notify()

    def fileno(self) -> int:
        """Give the descriptor that is readable when something is done."""
        return self._done.fileno()

    def completed(self) -> list[Completed]:
        """Take what is done."""
        done = self._done.take()
        self._held -= len(done)
        return done

    def close(self) -> None:
        """End at once: nobody asks for the rest."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()
        self._done.close()

    def _run(self) -> None:
        while (running := self._next_due()) is not None:
            heatmaps, pafs = self._fields(running.image)
            self._done.put(Completed(running.ticket, heatmaps, pafs, running.due_s - running.submitted_s))

    def _next_due(self) -> _Running | None:
        """Wait for the oldest inference's time; None once the engine is closed."""
        with self._changed:
            while not self._is_closed:
                if not self._running:
                    self._changed.wait()
                elif (left_s := self._running[0].due_s - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                else:
                    return self._running.popleft()
        return None

    def _replay(self, image: NDArray[np.uint8]) -> Maps:
        """Give copies of the maps that the picture's middle row chooses."""
        assert self._recorded is not None  # noqa: S101 - only then is this called
        heatmaps, pafs = self._recorded
        number = zlib.crc32(image[image.shape[0] // 2].tobytes()) % len(heatmaps)
        return heatmaps[number].copy(), pafs[number].copy()


def _parsed(device: str) -> tuple[float, Path | None]:
    """Give a device string's service time in seconds, and its file of maps."""
    _, _, options = device.partition(":")
    milliseconds, _, path = options.partition(":")
    try:
        service_s = float(milliseconds) / 1000
    except ValueError:
        service_s = math.nan
    if not 0 <= service_s <= _MAX_SERVICE_S:
        raise EngineError(f"device {device}: write simulated:MILLISECONDS or simulated:MILLISECONDS:MAPS.npz")
    return service_s, Path(path) if path else None


def _recorded(spec: NetworkSpec, path: Path) -> Maps:
    """Read heatmaps and PAFs of one picture (C×h×w) or of several (N×C×h×w)."""
    try:
        with np.load(path) as file:
            heatmaps, pafs = file["heatmaps_chw"], file["pafs_chw"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise EngineError(f"{path} is no .npz with heatmaps_chw and pafs_chw: {error}") from error
    if heatmaps.ndim == pafs.ndim == 3:
        heatmaps, pafs = heatmaps[None], pafs[None]
    count, _, *cells = heatmaps.shape if heatmaps.ndim == 4 else (0, 0)
    wanted = ((count, spec.heatmaps.count, *cells), (count, spec.pafs.count, *cells))
    if (heatmaps.shape, pafs.shape) != wanted or heatmaps.dtype != pafs.dtype or not heatmaps.size:
        raise EngineError(f"{path}: maps of {heatmaps.shape} and {pafs.shape} are none of {spec.name}")
    if heatmaps.dtype not in (np.float32, np.float16):
        raise EngineError(f"{path}: maps of {heatmaps.dtype}; store them as float32 or float16")
    return heatmaps, pafs
