"""What the benches of live sources share: a server of real video, a run over it, and notes of every message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from posestream.models.weights import WeightStore
from posestream.pipeline.bench.measure import clip_path
from posestream.pipeline.bench.rtsp_clip import pictures_of, write_units
from posestream.pipeline.bench.rtsp_server import INSTALL, RtspServer, server_python
from posestream.pipeline.bench.scale import finish
from posestream.pipeline.job import plan_job
from posestream.pipeline.settings import Settings
from posestream.pipeline.supervision.crew import start_job
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.stages.items import Poses
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended, Sink
from posestream.stages.source.opening import SourceInfo

__all__ = ["Note", "Notes", "followed", "served_clip", "wait_until"]

#: The clip's size, and how long it is before it begins anew, in seconds.
_WIDTH, _HEIGHT, _CLIP_S = 1280, 720, 4
#: How often the supervisor looks after its parts, as in a run, in seconds.
_LOOK_S = 0.1
#: How long anything that is waited for may take, in seconds.
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Note:
    """What is noted of one message."""

    #: When it was made, in seconds of the monotonic clock.
    at_s: float
    epoch: int
    #: "stage/reason" of a drop; empty for poses.
    drop: str
    #: From the packet's coming off the network to the message, in seconds.
    age_s: float


class Notes:
    """An output per source that notes its messages."""

    def __init__(self) -> None:
        self._notes: dict[str, list[Note]] = {}
        self._lock = threading.Lock()

    def sink(self, source: str) -> Sink:
        """Give the output of a source."""
        self._notes[source] = []
        return _NoteSink(source, self)

    def add(self, source: str, note: Note) -> None:
        """Note a message."""
        with self._lock:
            self._notes[source].append(note)

    def of(self, source: str, since: int = 0) -> list[Note]:
        """Give a source's notes from a number on."""
        with self._lock:
            return self._notes[source][since:]

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            for notes in self._notes.values():
                notes.clear()


class _NoteSink:
    """The output that notes."""

    def __init__(self, source: str, notes: Notes) -> None:
        self._source = source
        self._notes = notes
        self.name = f"notes of {source}"
        self.paths: tuple[Path, ...] = ()

    def resume(self, source: str, since_s: float) -> Held | None:  # noqa: ARG002 - nothing is kept
        """Give None: nothing is kept."""
        return None

    def open(self, info: SourceInfo) -> None:
        """Nothing is to be opened."""

    def write(self, ended: Ended) -> None:
        """Note a message."""
        now_s, frame, outcome = time.monotonic(), ended.frame, ended.outcome
        drop = "" if isinstance(outcome, Poses) else f"{outcome.stage}/{outcome.reason}"
        self._notes.add(self._source, Note(now_s, frame.epoch, drop, now_s - frame.captured_mono_s))

    def close(self) -> None:
        """Nothing is to be closed."""


@contextmanager
def served_clip(file: str | None, rate: int) -> Iterator[RtspServer]:
    """Serve a clip (FILE or the sample) in 720p, encoded beforehand, so that the server costs next to nothing.

    Raises:
        UsageError: the server's parts are not installed.
    """
    if server_python() is None:
        raise click.UsageError(f"this bench needs an RTSP server: {INSTALL}")
    with TemporaryDirectory(prefix="posestream-bench-") as folder:
        pictures = pictures_of(clip_path(file), _WIDTH, _HEIGHT, rate * _CLIP_S)
        units = write_units(Path(folder, "clip.units"), pictures, rate, key_interval=2 * rate)
        with RtspServer(units, rate) as server:
            yield server


@contextmanager
def followed(settings: Settings, sources: Sequence[dict[str, Any]]) -> Iterator[tuple[Supervisor, Notes]]:
    """Run over sources in threads, with notes of all their messages; at the end it is stopped."""
    notes = Notes()
    raw = {**settings.model_dump(mode="json", exclude_defaults=True), "source": list(sources)}
    supervisor = start_job(plan_job(Settings.parse(raw), WeightStore.from_environment()), [notes.sink])
    try:
        yield supervisor, notes
    finally:
        finish(supervisor)


def wait_until(supervisor: Supervisor, is_so: Callable[[], object], look_s: float = _LOOK_S) -> None:
    """Let a run go on until something is so.

    Raises:
        RuntimeError: it does not become so, or the run crashed.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline_s or supervisor.has_crashed:
            raise RuntimeError(f"the run does not go on: {supervisor!r}")
        supervisor.wait(look_s)
