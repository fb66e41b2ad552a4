"""The engine on OpenVINO with asynchronous requests: processors, Intel's GPUs and NPUs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.cache import cache_folder
from posestream.models.engines.base import Completed
from posestream.models.engines.failures import Failures
from posestream.models.engines.graph import Graph, read_graph
from posestream.models.engines.mailbox import Mailbox
from posestream.models.engines.picture import check_batch, check_size
from posestream.models.engines.runtime import brief, load_core, load_openvino
from posestream.models.errors import EngineError, InferenceError
from posestream.models.spec import NetworkSpec, OutputSpec
from posestream.models.weights import Weights

__all__ = ["OpenVinoEngine", "devices", "open_engine"]

#: Sizes that get a compiled network of their own; all others share one of any size. A stream has one size and a few
#: streams a few, but a folder of pictures may have a hundred, and compiling takes as long as ten inferences.
STATIC_SHAPES = 4
#: What `precision` may be, and OpenVINO's name for it.
PRECISIONS = {"auto": None, "f32": "f32", "bf16": "bf16", "f16": "f16"}
#: OpenVINO's names for the abilities that a precision asks for.
_ABILITIES = {"bf16": "BF16", "f16": "FP16"}
#: Device families and OpenVINO's names for them.
_TARGETS = {"cpu": "CPU", "intel-gpu": "GPU", "npu": "NPU"}
#: Stands for height and width in the shape that serves all sizes.
_ANY = -1
#: Requests before anything is compiled and OpenVINO has told how many are best.
_FIRST_CAPACITY = 2


def devices(family: str) -> tuple[str, ...]:
    """Give the device strings of this family that there are on this machine; of several GPUs each has a number."""
    found = [name.partition(".") for name in load_core().available_devices]
    return tuple(f"{family}:{number}" if dot else family for name, dot, number in found if name == _TARGETS[family])


def _target(device: str) -> str:
    """Give OpenVINO's name for a device string: `GPU.1` for `intel-gpu:1`."""
    family, _, number = device.partition(":")
    return f"{_TARGETS[family]}.{number}" if number else _TARGETS[family]


def open_engine(
    spec: NetworkSpec,
    weights: Weights,
    device: str,
    precision: str,
    requests: int,
    batch: int,  # noqa: ARG001 - batches add nothing on a processor
) -> OpenVinoEngine:
    """Open the network on a device; compiled networks are kept in the cache folder.

    Raises:
        EngineError: the files cannot be used, or the device lacks the precision.
    """
    return OpenVinoEngine(spec, weights, device, precision, requests, cache_folder("compiled"))


@dataclass(slots=True, eq=False)
class _Request:
    """One of OpenVINO's requests, of one compiled network."""

    infer: Any
    pool: list[_Request]
    ticket: int = -1
    started_s: float = 0.0
    ended_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Compiled:
    """A compiled network and its idle requests; the others are made when they are needed."""

    network: Any
    is_static: bool
    idle: list[_Request] = field(default_factory=list)


class OpenVinoEngine:
    """Runs a network on one device. Compiles a size when it first comes, or in `prepare`.

    Args:
        spec: the network.
        weights: its files.
        device: the device string that chose this engine.
        precision: a key of `PRECISIONS`; "auto" is what OpenVINO finds best.
        requests: how many pictures at once; 0 is twice what OpenVINO finds best, so that none waits for the owner.
        compiled_folder: where compiled networks are kept between runs; None keeps none.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        weights: Weights,
        device: str = "cpu",
        precision: str = "auto",
        requests: int = 0,
        compiled_folder: Path | None = None,
    ) -> None:
        self._openvino = load_openvino()
        self._core = load_core()
        self._device, self._target = device, _target(device)
        self._config = _config(self._core, device, precision, compiled_folder)
        self._graph: Graph = read_graph(self._core, spec, weights)
        self._spec = spec
        self._requests = requests
        self._capacity = requests or _FIRST_CAPACITY
        #: What OpenVINO finds best: as many requests as it has streams.
        self._streams = 1
        self._compiled: dict[tuple[int, int], _Compiled] = {}
        self._compiling = threading.Lock()
        self._running: dict[int, _Request] = {}
        self._done: Mailbox[_Request] = Mailbox()
        self._failures = Failures(self._done)

    def __repr__(self) -> str:
        shapes = ", ".join("any" if height == _ANY else f"{width}×{height}" for height, width in self._compiled)
        return f"OpenVinoEngine({self._spec.name}, {len(self._running)}/{self._capacity} running, shapes: {shapes})"

    @property
    def device(self) -> str:
        """The device string that chose it."""
        return self._device

    @property
    def description(self) -> str:
        """Engine, version, hardware and precision in a few words."""
        hardware = str(self._core.get_property(self._target, "FULL_DEVICE_NAME")).strip()
        precision = self._config.get("INFERENCE_PRECISION_HINT")
        precision = precision or self._core.get_property(self._target, "INFERENCE_PRECISION_HINT").to_string()
        version = self._openvino.get_version().split("-")[0]
        return f"OpenVINO {version}, {hardware}, {precision}"

    @property
    def capacity(self) -> int:
        """How many pictures it works on at once; two until the first size is compiled, unless it was told."""
        return self._capacity

    @property
    def at_once(self) -> int:
        """How many of them OpenVINO works on at once; one until the first size is compiled."""
        return min(self._streams, self._capacity)

    @property
    def batch(self) -> int:
        """One: on a processor, several at once in requests of their own are as fast."""
        return 1

    def prepare(self, height: int, width: int) -> None:
        """Compile for pictures of this size; from any thread."""
        check_size(self._spec, height, width)
        self._network(height, width)

    def submit(self, tickets: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> None:
        """Begin on a picture; its array is copied (0.03 ms) because OpenVINO shares only writable ones."""
        height, width = check_batch(self._spec, tickets, images, self.batch)
        compiled = self._network(height, width)
        if len(self._running) >= self._capacity:
            raise EngineError(f"all {self._capacity} requests are busy: take the completed ones first")
        request = compiled.idle.pop() if compiled.idle else self._new_request(compiled)
        tensor = request.infer.get_input_tensor()
        if not compiled.is_static:
            tensor.shape = (1, height, width, 3)
        tensor.data[0] = images[0]
        request.ticket, request.started_s = tickets[0], time.perf_counter()
        self._running[id(request)] = request
        request.infer.start_async()

    def fileno(self) -> int:
        """Give the descriptor that is readable when something is done; a failed inference does not wake it."""
        return self._done.fileno()

    def completed(self) -> list[Completed]:
        """Take what is done, in the order of finishing."""
        done = [self._collect(request) for request in self._done.take()]
        self._find_failures()
        return self._failures.hand_over(done)

    def close(self) -> None:
        """Wait for what is running and free the networks."""
        for request in list(self._running.values()):
            with suppress(RuntimeError):  # its owner is leaving and no longer asks
                request.infer.wait()
            self._free(request)
        for compiled in self._compiled.values():
            for request in compiled.idle:
                # A request holds what it calls back, which holds the request: through OpenVINO no collector sees that.
                request.infer.set_callback(_forget, None)
        self._done.close()
        self._compiled.clear()

    def _collect(self, request: _Request) -> Completed:
        """Copy the maps out of a request and make it idle."""
        heatmaps = self._maps(request, self._spec.heatmaps, self._graph.heatmaps_output)
        pafs = self._maps(request, self._spec.pafs, self._graph.pafs_output)
        completed = Completed(request.ticket, heatmaps, pafs, request.ended_s - request.started_s)
        self._free(request)
        return completed

    def _maps(self, request: _Request, output: OutputSpec, number: int) -> NDArray[np.floating]:
        data: NDArray[np.float32] = request.infer.get_output_tensor(number).data
        return data[0, output.first : output.first + output.count].copy()

    def _find_failures(self) -> None:
        """Ask the running requests for errors: OpenVINO calls nobody back for those."""
        for request in list(self._running.values()):
            try:
                request.infer.wait_for(0)
            except RuntimeError as error:
                failure = InferenceError((request.ticket,), f"{self._spec.name}: the inference failed: {brief(error)}")
                failure.__cause__ = error
                self._failures.add(failure)
                self._free(request)

    def _free(self, request: _Request) -> None:
        del self._running[id(request)]
        request.pool.append(request)

    def _new_request(self, compiled: _Compiled) -> _Request:
        request = _Request(compiled.network.create_infer_request(), compiled.idle)
        request.infer.set_callback(self._finish, request)
        return request

    def _finish(self, request: _Request) -> None:
        """Note the end of an inference; runs in OpenVINO's thread, so it does no more than that."""
        request.ended_s = time.perf_counter()
        self._done.put(request)

    def _network(self, height: int, width: int) -> _Compiled:
        """Give the compiled network for this size, compiling it where there is none yet."""
        known = self._known(height, width)
        if known is not None:
            return known
        with self._compiling:
            known = self._known(height, width)
            if known is not None:
                return known
            # An NPU compiles for sizes that are known only.
            is_static = len(self._compiled) < STATIC_SHAPES or self._target.startswith("NPU")
            shape = (height, width) if is_static else (_ANY, _ANY)
            compiled = _Compiled(self._compile(*shape), is_static)
            self._compiled[shape] = compiled
            return compiled

    def _known(self, height: int, width: int) -> _Compiled | None:
        return self._compiled.get((height, width)) or self._compiled.get((_ANY, _ANY))

    def _compile(self, height: int, width: int) -> Any:
        try:
            model = self._graph.shaped(self._openvino, height, width)
            network = self._core.compile_model(model, self._target, self._config)
        except RuntimeError as error:
            size = "pictures of any size" if height == _ANY else f"{width}×{height} pictures"
            raise EngineError(f"{self._spec.name}: OpenVINO cannot compile it for {size}: {brief(error)}") from error
        self._streams = max(self._streams, int(network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
        if not self._requests:
            self._capacity = max(self._capacity, 2 * self._streams)
        return network


def _forget(_nothing: None) -> None:
    """Take the place of a callback that nobody waits for any more."""


def _config(core: Any, device: str, precision: str, compiled_folder: Path | None) -> Mapping[str, str]:
    """Give OpenVINO's settings; raise EngineError where the device lacks the precision."""
    if precision not in PRECISIONS:
        raise EngineError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    ability = _ABILITIES.get(precision)
    is_able = ability is None or ability in core.get_property(_target(device), "OPTIMIZATION_CAPABILITIES")
    # Processors name f16 among their abilities and compute in f32.
    if not is_able or (device == "cpu" and precision == "f16"):
        hardware = "processor" if device == "cpu" else "device"
        raise EngineError(f"device {device}: this {hardware} has no {precision}: choose precision auto or f32")
    config = {"PERFORMANCE_HINT": "THROUGHPUT"}
    hint = PRECISIONS[precision]
    if hint is not None:
        config["INFERENCE_PRECISION_HINT"] = hint
    if compiled_folder is not None and _is_writable(compiled_folder):
        config["CACHE_DIR"] = str(compiled_folder)
    return config


def _is_writable(folder: Path) -> bool:
    """True if files can be kept there; where they cannot, compiling just takes longer."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
