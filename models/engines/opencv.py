"""The engine on OpenCV's dnn module: processors without OpenVINO, and NVIDIA GPUs with an OpenCV built for them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.runtime import brief
from posestream.models.engines.threaded import GPU_BATCH, Maps, ThreadedEngine
from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec, OutputSpec, TensorLayout
from posestream.models.weights import Weights

__all__ = ["OpenCvEngine", "devices", "open_engine"]

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
        EngineError: the files cannot be used, or the device lacks the precision.
    """
    return OpenCvEngine(spec, weights, device, requests, batch, precision)


class OpenCvEngine(ThreadedEngine):
    """Runs a network with OpenCV, one inference after the other in a thread of its own.

    Args:
        spec: the network.
        weights: its files.
        device: `opencv-cpu` or `opencv-cuda:N`.
        requests: how many pictures it takes at once; 0 is enough for two inferences.
        batch: how many pictures an inference is of at most; 0 is one on a processor, where more gain nothing, and a
            few on a GPU.
        precision: "auto" or "f32", and "f16" on GPUs that have it.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Weights,
        device: str = "opencv-cpu",
        requests: int = 0,
        batch: int = 0,
        precision: str = "auto",
    ) -> None:
        wanted = batch or (GPU_BATCH if device.startswith(_CUDA_FAMILY) else 1)
        super().__init__(spec, _Net(_load_opencv(), spec, weights, device, precision), device, requests, wanted)


class _Net:
    """OpenCV's network; one thread at a time."""

    def __init__(self, cv2: Any, spec: NetworkSpec, weights: Weights, device: str, precision: str) -> None:
        self._cv2 = cv2
        self._spec = spec
        self._gpu = int(device.partition(":")[2]) if device.startswith(_CUDA_FAMILY) else None
        self._precision = "f32" if precision == "auto" else precision
        self._target = self._find_target(device, precision)
        #: OpenCV keeps the order of axes that an ONNX file has; of TensorFlow's it makes its own, NCHW.
        self._keeps_layout = weights.paths[0].suffix == ".onnx"
        self._net = self._read(weights)
        self._names = list(dict.fromkeys((spec.heatmaps.tensor, spec.pafs.tensor)))

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What OpenCV raises."""
        return (self._cv2.error,)

    @property
    def description(self) -> str:
        """OpenCV, its version, where it runs and the precision."""
        hardware = "processor" if self._gpu is None else f"GPU {self._gpu}"
        return f"OpenCV {self._cv2.__version__}, {hardware}, {self._precision}"

    def forward(self, images: Sequence[NDArray[np.uint8]]) -> list[Maps]:
        """Give heatmaps and PAFs of each picture, both channels first and owned by the caller."""
        scale, shift = self._spec.input.scale, self._spec.input.shift
        # Its order is (value − mean) · scale; ours is value · scale + shift.
        blob = self._cv2.dnn.blobFromImages(images, scale, mean=(-shift / scale,) * 3)
        if self._keeps_layout and self._spec.input.layout is TensorLayout.NHWC:
            blob = np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
        if self._gpu is not None:
            self._cv2.cuda.setDevice(self._gpu)  # the choice belongs to a thread
        self._net.setInput(blob)
        outputs = dict(zip(self._names, self._net.forward(self._names), strict=True))
        heatmaps, pafs = self._maps(outputs, self._spec.heatmaps), self._maps(outputs, self._spec.pafs)
        return [(heatmaps[number].copy(), pafs[number].copy()) for number in range(len(images))]

    def close(self) -> None:
        """Free the network."""
        self._net = None

    def _maps(self, outputs: dict[str, Any], output: OutputSpec) -> NDArray[np.floating]:
        maps: NDArray[np.float32] = outputs[output.tensor]
        if self._keeps_layout and output.layout is TensorLayout.NHWC:
            maps = maps.transpose(0, 3, 1, 2)
        return maps[:, output.first : output.first + output.count]

    def _find_target(self, device: str, precision: str) -> int | None:
        """Give OpenCV's number of what computes on a GPU; raise EngineError where the precision is not to be had."""
        dnn = self._cv2.dnn
        if self._gpu is None or precision != "f16":
            if precision not in ("auto", "f32"):
                raise EngineError(
                    f"device {device} computes in f32 only: choose precision auto or f32, not {precision}"
                )
            return None if self._gpu is None else int(dnn.DNN_TARGET_CUDA)
        if dnn.DNN_TARGET_CUDA_FP16 not in dnn.getAvailableTargets(dnn.DNN_BACKEND_CUDA):
            raise EngineError(f"device {device}: this OpenCV or GPU has no f16: choose precision auto or f32")
        return int(dnn.DNN_TARGET_CUDA_FP16)

    def _read(self, weights: Weights) -> Any:
        dnn = self._cv2.dnn
        path = weights.paths[0]
        readers = {".pb": dnn.readNetFromTensorflow, ".onnx": dnn.readNetFromONNX}
        if path.suffix not in readers:
            raise EngineError(f"{self._spec.name}: OpenCV cannot read {path}: it reads {', '.join(readers)}")
        options = {}
        if self._target is not None and hasattr(dnn, "ENGINE_CLASSIC"):
            options["engine"] = dnn.ENGINE_CLASSIC  # OpenCV 5's new engine runs on processors only
        try:
            net = readers[path.suffix](str(path), **options)
            if self._target is not None:
                net.setPreferableBackend(dnn.DNN_BACKEND_CUDA)
                net.setPreferableTarget(self._target)
        except self._cv2.error as error:
            raise EngineError(f"{self._spec.name}: OpenCV cannot read {path}: {brief(error)}") from error
        return net


def _load_opencv() -> Any:
    """Give the module `cv2`; raise EngineError where it is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise EngineError(f"OpenCV cannot be loaded ({brief(error)}): pip install opencv-python") from error
