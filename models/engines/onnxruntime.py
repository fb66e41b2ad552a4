"""The engine on ONNX Runtime: processors, and NVIDIA GPUs through CUDA or TensorRT."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.cache import cache_folder
from posestream.models.engines.engine_folder import EngineFolder
from posestream.models.engines.nvidia import gpu_names
from posestream.models.engines.onnx_file import onnx_file
from posestream.models.engines.onnx_picture import fitted
from posestream.models.engines.providers import (
    CPU,
    CUDA,
    PROVIDERS,
    TENSORRT,
    load_libraries,
    load_onnxruntime,
    provider_fault,
    runtime_errors,
)
from posestream.models.engines.runtime import brief
from posestream.models.engines.threaded import GPU_BATCH, Maps, ThreadedEngine
from posestream.models.errors import EngineError, ModelError
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights

__all__ = ["OnnxRuntimeEngine", "devices", "open_engine"]

#: What each family can compute in; the first one is that of "auto".
_PRECISIONS = {CPU: ("int8", "f32"), CUDA: ("tf32", "f32"), TENSORRT: ("f16", "f32")}
#: What NVIDIA's libraries ask whether float32 may be rounded to TF32; TensorRT's provider has no setting for it.
_TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
#: Sizes whose sessions, or whose memory on the device, are kept; the one that was not used for longest goes first.
_KEPT_SIZES = 4


def devices(family: str) -> tuple[str, ...]:
    """Give the device strings of this family that there are on this machine.

    Raises:
        EngineError: ONNX Runtime is not installed, or there are GPUs that it cannot use; the text says why.
    """
    gpus = () if family == CPU else gpu_names()
    if family != CPU and not gpus:
        return ()
    runtime = load_onnxruntime()
    if PROVIDERS[family] not in runtime.get_available_providers():
        return ()
    if family == CPU:
        return (family,)
    try:
        fault = provider_fault(runtime, family)
    except ModelError as error:
        raise EngineError(str(error)) from error
    if fault:
        raise EngineError(f"{' and '.join(gpus)} and its driver are here, but {fault}")
    return tuple(f"{family}:{number}" for number in range(len(gpus)))


def open_engine(
    spec: NetworkSpec, weights: Weights, device: str, precision: str, requests: int, batch: int
) -> OnnxRuntimeEngine:
    """Open the network on the processor or on a GPU.

    Raises:
        EngineError: the files cannot be used, the device lacks the precision, or its libraries are missing.
    """
    return OnnxRuntimeEngine(spec, weights, device, precision, requests, batch)


class OnnxRuntimeEngine(ThreadedEngine):
    """Runs a network with ONNX Runtime, one inference after the other in a thread of its own.

    Args:
        spec: the network.
        weights: its files; those that are no ONNX file are converted once.
        device: `ort-cpu`, `cuda:N` or `tensorrt:N`.
        precision: "auto" or "f32"; "f16" with TensorRT.
        requests: how many pictures it takes at once; 0 is enough for two inferences.
        batch: how many pictures an inference is of at most; 0 is one on a processor, where more gain nothing, and a
            few on a GPU.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Weights,
        device: str = CPU,
        precision: str = "auto",
        requests: int = 0,
        batch: int = 0,
    ) -> None:
        family = device.partition(":")[0]
        wanted = batch or (1 if family == CPU else GPU_BATCH)
        net = _Net(load_onnxruntime(), spec, weights, device, precision, wanted)
        super().__init__(spec, net, device, requests, wanted if net.network.is_batched else 1)


@dataclass(slots=True)
class _Bound:
    """A session with memory on its device for pictures of one size and number."""

    session: Any
    binding: Any
    picture: Any
    heatmaps: Any
    pafs: Any


class _Net:
    """A network in ONNX Runtime; one thread at a time."""

    def __init__(
        self, onnxruntime: Any, spec: NetworkSpec, weights: Weights, device: str, precision: str, batch: int
    ) -> None:
        self._onnxruntime = onnxruntime
        self._family, _, number = device.partition(":")
        self._device, self._gpu = device, int(number or 0)
        load_libraries(onnxruntime, self._family)
        self._precision = self._find_precision(precision)
        self._spec, path = onnx_file(spec, weights, is_float=self._precision != "int8")
        self.network = fitted(self._spec, path)
        if self._precision == "int8" and not self.network.is_int8:
            self._precision = "f32"
        self._batch = batch if self.network.is_batched else 1
        #: Sessions by size where TensorRT compiles one for each, else one under (0, 0).
        self._sessions: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._bound: OrderedDict[tuple[int, int, int], _Bound] = OrderedDict()
        if self._family != TENSORRT:
            self._session(0, 0)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What ONNX Runtime raises."""
        return runtime_errors()

    @property
    def description(self) -> str:
        """ONNX Runtime, its version, where it runs and the precision."""
        names = gpu_names()
        hardware = "processor" if self._family == CPU else f"{self._family}, {names[self._gpu]}"
        precision = self._precision
        if (self._family, precision) == (TENSORRT, "f32") and os.environ.get(_TF32_VARIABLE) != "0":
            precision = f"f32, convolutions in tf32 ({_TF32_VARIABLE}=0 turns that off)"
        return f"ONNX Runtime {self._onnxruntime.__version__}, {hardware}, {precision}"

    def forward(self, images: Sequence[NDArray[np.uint8]]) -> list[Maps]:
        """Give heatmaps and PAFs of each picture, both channels first and owned by the caller."""
        bound = self._bind(len(images), *images[0].shape[:2])
        bound.picture.update_inplace(np.stack(images))
        bound.session.run_with_iobinding(bound.binding)
        heatmaps, pafs = bound.heatmaps.numpy(), bound.pafs.numpy()
        # On a processor they show the very memory that the next inference writes to.
        return [(heatmaps[number].copy(), pafs[number].copy()) for number in range(len(images))]

    def close(self) -> None:
        """Free the network."""
        self._bound.clear()
        self._sessions.clear()

    def _bind(self, count: int, height: int, width: int) -> _Bound:
        """Give the memory for pictures of a size and number, and the session that it belongs to."""
        key = (count, height, width)
        if key not in self._bound:
            self._bound[key] = self._new_bound(count, height, width)
            if len(self._bound) > _KEPT_SIZES * self._batch:
                self._bound.popitem(last=False)
        self._bound.move_to_end(key)
        return self._bound[key]

    def _new_bound(self, count: int, height: int, width: int) -> _Bound:
        session = self._session(height, width)
        where = ("cpu", 0) if self._family == CPU else ("cuda", self._gpu)
        value = self._onnxruntime.OrtValue
        cells = (height // self._spec.stride, width // self._spec.stride)
        outputs = [
            value.ortvalue_from_shape_and_type([count, output.count, *cells], np.float32, *where)
            for output in (self._spec.heatmaps, self._spec.pafs)
        ]
        picture = value.ortvalue_from_shape_and_type([count, height, width, 3], np.uint8, *where)
        binding = session.io_binding()
        binding.bind_ortvalue_input(self.network.picture, picture)
        for name, output in zip((self.network.heatmaps, self.network.pafs), outputs, strict=True):
            binding.bind_ortvalue_output(name, output)
        return _Bound(session, binding, picture, *outputs)

    def _session(self, height: int, width: int) -> Any:
        """Give the session for a size: TensorRT compiles for each, the others take any."""
        key = (height, width) if self._family == TENSORRT else (0, 0)
        if key not in self._sessions:
            self._sessions[key] = self._compiled(*key) if self._family == TENSORRT else self._new_session(*key)
            if len(self._sessions) > _KEPT_SIZES:
                oldest, _ = self._sessions.popitem(last=False)
                for bound in [bound for bound in self._bound if bound[1:] == oldest]:
                    del self._bound[bound]
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _compiled(self, height: int, width: int) -> Any:
        """Give TensorRT's session for a size, compiled or read from where it is kept."""
        black = np.zeros((self._batch, height, width, 3), np.uint8)

        def build() -> Any:
            session = self._new_session(height, width)
            session.run(None, {self.network.picture: black})  # the latest moment at which it compiles
            return session

        return EngineFolder(self._cache(height, width)).built(build)

    def _new_session(self, height: int, width: int) -> Any:
        runtime = self._onnxruntime
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors; they come as exceptions too, warnings are for its developers
        if self._family == CPU:
            # Threads that spin while they wait would take the cores from decoding and grouping.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._family == TENSORRT:
            for name, size in ((self.network.height, height), (self.network.width, width)):
                options.add_free_dimension_override_by_name(name, size)
        provider = PROVIDERS[self._family]
        try:
            session = runtime.InferenceSession(
                self.network.model, options, providers=self._providers(height, width), enable_fallback=False
            )
        except runtime_errors() as error:
            raise EngineError(
                f"{self._spec.name}: ONNX Runtime cannot open it on {self._device}: {brief(error)}"
            ) from error
        # A provider whose libraries are missing is left out with a warning alone.
        if session.get_providers()[0] != provider:
            raise EngineError(
                f"device {self._device}: ONNX Runtime's {provider} cannot be loaded, so that it would compute on "
                f"{session.get_providers()[0]}: posestream doctor --gpu tells what is missing"
            )
        return session

    def _providers(self, height: int, width: int) -> list[tuple[str, dict[str, str]]]:
        """Give the execution providers, the first of which must do the work, with their settings."""
        if self._family == CPU:
            return [(PROVIDERS[CPU], {})]
        cuda = {
            "device_id": str(self._gpu),
            "use_tf32": str(int(self._precision == "tf32")),
            # Trying all algorithms out takes seconds for each new size.
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        if self._family == CUDA:
            return [(PROVIDERS[CUDA], cuda)]
        return [(PROVIDERS[TENSORRT], self._tensorrt(height, width)), (PROVIDERS[CUDA], cuda)]

    def _tensorrt(self, height: int, width: int) -> dict[str, str]:
        """Give TensorRT's settings for one size and 1 to `batch` pictures; its engines are kept between runs."""
        folder = self._cache(height, width)
        shapes = [f"{self.network.picture}:{count}x{height}x{width}x3" for count in (1, self._batch)]
        return {
            "device_id": str(self._gpu),
            "trt_fp16_enable": str(self._precision == "f16"),
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(folder),
            "trt_profile_min_shapes": shapes[0],
            "trt_profile_opt_shapes": shapes[1],
            "trt_profile_max_shapes": shapes[1],
        }

    def _cache(self, height: int, width: int) -> Path:
        """Give the folder of one compiled engine: by the network's digest, the device and the shape."""
        digest = hashlib.sha256(self.network.model).hexdigest()[:16]
        gpu = "".join(letter if letter.isalnum() else "-" for letter in gpu_names()[self._gpu])
        runtime = f"ort{self._onnxruntime.__version__}"
        folder = cache_folder("compiled") / "tensorrt" / f"{gpu}-{runtime}"
        return folder / f"{digest}-{self._batch}x{height}x{width}-{self._precision}"

    def _find_precision(self, precision: str) -> str:
        known = _PRECISIONS[self._family]
        if precision == "auto":
            return known[0]
        if precision not in known or precision == "int8":
            raise EngineError(
                f"device {self._device} does not compute in {precision}: choose one of auto, "
                f"{', '.join(each for each in known if each not in ('int8', 'tf32'))}"
            )
        return precision
