"""An engine that only pretends: it answers after a chosen time without using the CPU, to measure everything else."""

from __future__ import annotations

import math
import threading
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Completed
from posestream.models.engines.fake import empty_fields
from posestream.models.engines.mailbox import Mailbox
from posestream.models.engines.picture import check_batch, check_size
from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights

__all__ = ["BATCH", "Service", "SimulatedEngine", "check", "devices", "open_engine"]

#: Inferences that it takes at once: it works on one, the next one waits beside it, as real accelerators do.
_INFERENCES = 2
#: Pictures together where each costs less in company, unless another number was asked for.
BATCH = 8
#: Longest service time in seconds; more is a slip of the pen.
_MAX_SERVICE_S = 60.0

Maps = tuple[NDArray[np.floating], NDArray[np.floating]]


def devices(family: str) -> tuple[str, ...]:  # noqa: ARG001 - what every engine's module offers
    """Give none: nobody shall meet it in a list and take it for a real one."""
    return ()


def check(device: str) -> None:
    """Make sure that a device string is right: `simulated:MILLISECONDS`, or `simulated:MILLISECONDS:MAPS.npz`.

    Milliseconds may be FIXED+EACH: an inference takes FIXED, and EACH more for each of its pictures, which it then
    takes several at a time. MILLISECONDS@N: the Nth inference never ends, nor does what comes after it.

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
    batch: int,
) -> SimulatedEngine:
    """Open a device that pretends to run the network.

    Raises:
        EngineError: the device string or its file of maps cannot be used.
    """
    service, path = _parsed(device)
    return SimulatedEngine(spec, device, service, _recorded(spec, path) if path else None, requests, batch)


@dataclass(frozen=True, slots=True)
class Service:
    """How long an inference takes, in seconds."""

    fixed_s: float
    #: More for each of its pictures; None: it takes one picture at a time unless it is told otherwise.
    each_s: float | None = None
    #: Which inference never ends, from 1; 0: all of them do.
    hangs_at: int = 0

    def of(self, pictures: int) -> float:
        """Give the time of an inference of so many pictures."""
        return self.fixed_s + pictures * (self.each_s or 0.0)

    def __str__(self) -> str:
        each = "" if self.each_s is None else f" and {self.each_s * 1000:g} ms a picture"
        return f"{self.fixed_s * 1000:g} ms{each}"


@dataclass(frozen=True, slots=True)
class _Running:
    tickets: tuple[int, ...]
    images: tuple[NDArray[np.uint8], ...]
    submitted_s: float
    due_s: float


class SimulatedEngine:
    """Ends one inference after the other while it has work, in a thread that sleeps in between.

    An inference is due that long after it began, which is when the one before it was due: so the rate is exact
    however late the thread is woken.

    Args:
        spec: the network it pretends to run.
        device: the device string that chose it.
        service: time of one inference.
        recorded: what it answers: N×(K + 1)×h×w heatmaps and N×2L×h×w PAFs, of which each picture gets those that
            its content chooses, so that the same picture always has the same answer; None: it finds nobody.
        requests: pictures at once; 0 is enough for two inferences.
        batch: pictures of one inference at most; 0 is one, or a few where each of them has a time of its own.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        device: str,
        service: Service,
        recorded: Maps | None = None,
        requests: int = 0,
        batch: int = 0,
    ) -> None:
        self._spec = spec
        self._device = device
        self._service = service
        self._recorded = recorded
        self._fields: Callable[[NDArray[np.uint8]], Maps] = self._replay if recorded else empty_fields(spec)
        wanted = batch or (1 if service.each_s is None else BATCH)
        self._capacity = requests or _INFERENCES * wanted
        self._batch = min(wanted, self._capacity)
        self._running: deque[_Running] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._last_due_s = 0.0
        #: Inferences that were done.
        self._ended = 0
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
        return f"simulated device, {self._service}, no network is run"

    @property
    def capacity(self) -> int:
        """How many pictures it takes at once."""
        return self._capacity

    @property
    def at_once(self) -> int:
        """One inference's pictures."""
        return self._batch

    @property
    def batch(self) -> int:
        """How many pictures it takes together."""
        return self._batch

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

    def submit(self, tickets: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> None:
        """Take pictures."""
        self.prepare(*check_batch(self._spec, tickets, images, self._batch))
        if self._held + len(images) > self._capacity:
            raise EngineError(f"all {self._capacity} requests are busy: take the completed ones first")
        self._held += len(images)
        now_s = time.monotonic()
        self._last_due_s = max(self._last_due_s, now_s) + self._service.of(len(images))
        with self._changed:
            self._running.append(_Running(tuple(tickets), tuple(images), now_s, self._last_due_s))
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
        """End at once, since nobody asks for the rest; but never where an inference hangs, as with real devices."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()
        self._done.close()

    def _run(self) -> None:
        while (running := self._next_due()) is not None:
            self._ended += 1
            if self._ended == self._service.hangs_at:
                threading.Event().wait()
            elapsed_s = running.due_s - running.submitted_s
            for ticket, image in zip(running.tickets, running.images, strict=True):
                self._done.put(Completed(ticket, *self._fields(image), elapsed_s))

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


def _parsed(device: str) -> tuple[Service, Path | None]:
    """Give a device string's service time, and its file of maps."""
    _, _, options = device.partition(":")
    milliseconds, _, path = options.partition(":")
    times, at, number = milliseconds.partition("@")
    fixed, plus, each = times.partition("+")
    try:
        service = Service(float(fixed) / 1000, float(each) / 1000 if plus else None, int(number) if at else 0)
    except ValueError:
        service = Service(math.nan)
    is_possible = all(0 <= part <= _MAX_SERVICE_S for part in (service.fixed_s, service.each_s or 0.0))
    if not is_possible or service.hangs_at < (1 if at else 0):
        raise EngineError(f"device {device}: write simulated:MILLISECONDS[:MAPS.npz]; MILLISECONDS may be FIXED+EACH")
    return service, Path(path) if path else None


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
