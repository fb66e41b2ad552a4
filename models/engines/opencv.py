"""The engine on OpenCV's dnn module: processors without OpenVINO, and NVIDIA GPUs with an OpenCV built for them."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Completed
from posestream.models.engines.failures import Failures
from posestream.models.engines.mailbox import Mailbox
from posestream.models.engines.picture import check_batch, check_size
from posestream.models.engines.runtime import brief
from posestream.models.errors import EngineError, InferenceError
from posestream.models.spec import NetworkSpec, OutputSpec
from posestream.models.weights import Weights

__all__ = ["OpenCvEngine", "devices", "open_engine"]

#: Inferences at once: OpenCV works on one, and the next waits beside it so that the thread never does.
_INFERENCES = 2
#: Pictures together on a GPU, where one alone leaves most of it idle. No GPU was at hand to find the best number;
#: `replicas.batch` sets another one.
_GPU_BATCH = 4
_CUDA_FAMILY = "opencv-cuda"


def devices(family: str) -> tuple[str, ...]:
    """Give the device strings of this family that there are on this machine."""
    cv2 = _load_opencv()
    if family != _CUDA_FAMILY:
        return (family,)
    if not cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA):
        return ()  # built without CUDA
    return tuple(f"{family}:{number}" for number in range(cv2.cuda.getCudaEnabledDeviceCount()))


def open_engine(
    spec: NetworkSpec, weights: Weights, device: str, precision: str, requests: int, batch: int
) -> OpenCvEngine:
    """Open the network on the processor or on a GPU.

    Raises:
        EngineError: the files cannot be used, or the precision is none of OpenCV's.
    """
    if precision not in ("auto", "f32"):
        raise EngineError(f"device {device} computes in f32 only: choose precision auto or f32, not {precision}")
    return OpenCvEngine(spec, weights, device, requests, batch)


@dataclass(frozen=True, slots=True)
class _Task:
    tickets: tuple[int, ...]
    images: tuple[NDArray[np.uint8], ...]
    started_s: float


class OpenCvEngine:
    """Runs a network with OpenCV, one inference after the other in a thread of its own.

    Args:
        spec: the network.
        weights: its files.
        device: `opencv-cpu` or `opencv-cuda:N`.
        requests: how many pictures it takes at once; 0 is enough for two inferences.
        batch: how many pictures an inference is of at most; 0 is one on a processor, where more gain nothing, and a
            few on a GPU.
    """

    def __init__(
        self, spec: NetworkSpec, weights: Weights, device: str = "opencv-cpu", requests: int = 0, batch: int = 0
    ) -> None:
        self._spec = spec
        self._device = device
        wanted = batch or (_GPU_BATCH if device.startswith(_CUDA_FAMILY) else 1)
        self._capacity = requests or _INFERENCES * wanted
        self._batch = min(wanted, self._capacity)
        self._cv2 = _load_opencv()
        self._net = _Net(self._cv2, spec, weights, device)
        self._running = 0
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._done: Mailbox[Completed | InferenceError] = Mailbox()
        self._failures = Failures(self._done)
        self._thread = threading.Thread(target=self._work, name=f"engine {device}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"OpenCvEngine({self._spec.name} on {self._device}, {self._running}/{self._capacity} running)"

    @property
    def device(self) -> str:
        """The device string that chose it."""
        return self._device

    @property
    def description(self) -> str:
        """Engine, version, device and precision in a few words."""
        return f"OpenCV {self._cv2.__version__}, {self._net.hardware}, f32"

    @property
    def capacity(self) -> int:
        """How many pictures it takes at once."""
        return self._capacity

    @property
    def batch(self) -> int:
        """How many pictures it takes together."""
        return self._batch

    def prepare(self, height: int, width: int) -> None:
        """Run once on black pictures: OpenCV plans its memory in the first run of a size."""
        check_size(self._spec, height, width)
        black = np.zeros((height, width, 3), np.uint8)
        try:
            self._net.forward([black] * self._batch)
        except self._cv2.error as error:
            raise EngineError(_failed(self._spec, error)) from error

    def submit(self, tickets: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> None:
        """Hand pictures to the thread."""
        check_batch(self._spec, tickets, images, self._batch)
        if self._running + len(images) > self._capacity:
            raise EngineError(f"all {self._capacity} requests are busy: take the completed ones first")
        self._running += len(images)
        self._tasks.put(_Task(tuple(tickets), tuple(images), time.perf_counter()))

    def fileno(self) -> int:
        """Give the descriptor that is readable when something is done."""
        return self._done.fileno()

    def completed(self) -> list[Completed]:
        """Take what is done, in the order of finishing."""
        done, taken = self._failures.sorted_out(self._done.take())
        self._running -= taken
        return self._failures.hand_over(done)

    def close(self) -> None:
        """Wait for what is running and free the network."""
        self._tasks.put(None)
        self._thread.join()
        self._done.close()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            for item in self._infer(task):
                self._done.put(item)

    def _infer(self, task: _Task) -> Sequence[Completed | InferenceError]:
        try:
            maps = self._net.forward(task.images)
        except (self._cv2.error, MemoryError) as error:
            failure = InferenceError(task.tickets, _failed(self._spec, error))
            failure.__cause__ = error
            return [failure]
        elapsed_s = time.perf_counter() - task.started_s
        return [Completed(ticket, *both, elapsed_s) for ticket, both in zip(task.tickets, maps, strict=True)]


class _Net:
    """OpenCV's network; one thread at a time."""

    def __init__(self, cv2: Any, spec: NetworkSpec, weights: Weights, device: str) -> None:
        self._cv2 = cv2
        self._spec = spec
        self._gpu = int(device.partition(":")[2]) if device.startswith(_CUDA_FAMILY) else None
        self._lock = threading.Lock()
        self._net = self._read(weights)
        self._names = list(dict.fromkeys((spec.heatmaps.tensor, spec.pafs.tensor)))

    @property
    def hardware(self) -> str:
        """Where it runs, in a few words."""
        return "processor" if self._gpu is None else f"GPU {self._gpu}"

    def forward(self, images: Sequence[NDArray[np.uint8]]) -> list[tuple[NDArray[np.floating], NDArray[np.floating]]]:
        """Give heatmaps and PAFs of each picture, both channels first and owned by the caller."""
        scale, shift = self._spec.input.scale, self._spec.input.shift
        # Its order is (value − mean) · scale; ours is value · scale + shift.
        blob = self._cv2.dnn.blobFromImages(images, scale, mean=(-shift / scale,) * 3)
        with self._lock:
            if self._gpu is not None:
                self._cv2.cuda.setDevice(self._gpu)  # the choice belongs to a thread
            self._net.setInput(blob)
            outputs = dict(zip(self._names, self._net.forward(self._names), strict=True))
            heatmaps, pafs = self._maps(outputs, self._spec.heatmaps), self._maps(outputs, self._spec.pafs)
            return [(heatmaps[number].copy(), pafs[number].copy()) for number in range(len(images))]

    def _maps(self, outputs: dict[str, Any], output: OutputSpec) -> NDArray[np.floating]:
        maps: NDArray[np.float32] = outputs[output.tensor]
        # OpenCV hands out its own NCHW order whatever the file says.
        return maps[:, output.first : output.first + output.count]

    def _read(self, weights: Weights) -> Any:
        dnn = self._cv2.dnn
        path = weights.paths[0]
        readers = {".pb": dnn.readNetFromTensorflow, ".onnx": dnn.readNetFromONNX}
        if path.suffix not in readers:
            raise EngineError(f"{self._spec.name}: OpenCV cannot read {path}: it reads {', '.join(readers)}")
        options = {}
        if self._gpu is not None and hasattr(dnn, "ENGINE_CLASSIC"):
            options["engine"] = dnn.ENGINE_CLASSIC  # OpenCV 5's new engine runs on processors only
        try:
            net = readers[path.suffix](str(path), **options)
            if self._gpu is not None:
                net.setPreferableBackend(dnn.DNN_BACKEND_CUDA)
                net.setPreferableTarget(dnn.DNN_TARGET_CUDA)
        except self._cv2.error as error:
            raise EngineError(f"{self._spec.name}: OpenCV cannot read {path}: {brief(error)}") from error
        return net


def _failed(spec: NetworkSpec, error: Exception) -> str:
    return f"{spec.name}: the inference failed: {brief(error)}"


def _load_opencv() -> Any:
    """Give the module `cv2`; raise EngineError where it is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise EngineError(f"OpenCV cannot be loaded ({brief(error)}): pip install opencv-python") from error
