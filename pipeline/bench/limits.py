"""What the bare parts cost for a clip, without a pipeline around them: the best that these cores could give."""

from __future__ import annotations

import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from os import cpu_count

from posestream.models.engines.base import Completed, Engine
from posestream.models.spec import NetworkSpec
from posestream.pipeline.settings import Settings
from posestream.stages.group.group import Group
from posestream.stages.items import FieldMaps, NetInput
from posestream.stages.preprocess import Letterbox, Preprocess
from posestream.stages.source.opening import SourceSettings, open_source

__all__ = ["Parts", "measure_parts"]

#: Network inputs that wait for the engine at most.
_WAITING = 4
#: Longest wait for the engine, in seconds.
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Parts:
    """CPU time of each part in milliseconds a frame, all of them at work at the same time."""

    decode_ms: float
    scale_ms: float
    #: What the whole process took beyond the other parts.
    engine_ms: float
    group_ms: float
    #: Frames per second of the bare loop around them.
    fps: float

    @property
    def total_ms(self) -> float:
        """CPU time of all of them."""
        return self.decode_ms + self.scale_ms + self.engine_ms + self.group_ms

    @property
    def limit_fps(self) -> float:
        """Frames per second if every core did nothing else."""
        return (cpu_count() or 1) * 1000 / self.total_ms


class _Inputs:
    """Decodes and scales a clip in a thread of its own."""

    def __init__(self, file: str, preprocess: Preprocess) -> None:
        self._file = file
        self._preprocess = preprocess
        self._queue: queue.Queue[NetInput | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="inputs", daemon=True)
        self._is_open, self._may_begin = threading.Event(), threading.Event()
        self.cpu_s = self.scale_s = 0.0

    def start(self) -> None:
        """Open the clip; decoding begins with the first frame that is asked for."""
        self._thread.start()
        self._is_open.wait()

    def __iter__(self) -> Iterator[NetInput]:
        self._may_begin.set()
        while (net_input := self._queue.get()) is not None:
            yield net_input
        self._thread.join()

    def _run(self) -> None:
        try:
            with open_source(SourceSettings(self._file)) as source:
                source.open()
                self._is_open.set()
                self._may_begin.wait()
                started_s = time.thread_time()
                for frame in source.frames():
                    if frame.picture is None:
                        continue
                    before_s = time.thread_time()
                    net_input = self._preprocess(frame)
                    self.scale_s += time.thread_time() - before_s
                    self._queue.put(net_input)
                self.cpu_s = time.thread_time() - started_s
        finally:
            self._is_open.set()
            self._queue.put(None)


class _Grouping:
    """Groups what the engine gives, in the caller's thread."""

    def __init__(self, engine: Engine, spec: NetworkSpec, settings: Settings) -> None:
        self._engine = engine
        self._stride = spec.stride
        self._group = Group(spec.layout, settings.group)
        self._running: dict[int, NetInput] = {}
        self.cpu_s = 0.0
        self.done = 0

    def submit(self, ticket: int, net_input: NetInput) -> None:
        """Give the engine a picture; wait and group while it has no room."""
        while len(self._running) >= self._engine.capacity:
            self.collect()
        self._engine.submit([ticket], [net_input.image])
        self._running[ticket] = net_input

    def collect(self) -> None:
        """Wait until something is done, and group it."""
        select.select([self._engine.fileno()], [], [], _PATIENCE_S)
        started_s = time.thread_time()
        for completed in self._engine.completed():
            self._group(self._maps(completed))
            self.done += 1
        self.cpu_s += time.thread_time() - started_s

    def finish(self) -> None:
        """Group all that is still with the engine."""
        while self._running:
            self.collect()

    def _maps(self, completed: Completed) -> FieldMaps:
        net_input = self._running.pop(completed.ticket)
        return FieldMaps(net_input.key, completed.heatmaps_chw, completed.pafs_chw, self._stride, net_input.transform)


def measure_parts(
    settings: Settings, file: str, size: Letterbox, spec: NetworkSpec, open_engine: Callable[[], Engine]
) -> Parts:
    """Run the parts over a clip with two threads and the engine's own, and give what each of them cost."""
    inputs = _Inputs(file, Preprocess(settings.network.net_height, spec.input.multiple))
    with closing(open_engine()) as engine:
        engine.prepare(size.height_net, size.width_net)
        grouping = _Grouping(engine, spec, settings)
        inputs.start()
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for ticket, net_input in enumerate(inputs):
            grouping.submit(ticket, net_input)
        grouping.finish()
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    decode_s = inputs.cpu_s - inputs.scale_s
    engine_s = cpu_s - inputs.cpu_s - grouping.cpu_s
    each_ms = 1000 / grouping.done
    return Parts(
        decode_s * each_ms,
        inputs.scale_s * each_ms,
        engine_s * each_ms,
        grouping.cpu_s * each_ms,
        grouping.done / wall_s,
    )
