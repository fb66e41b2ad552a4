"""Replicas with a fake engine, the dispatcher's end of their socket, and whole runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from posestream.models.choice import Choice
from posestream.models.engines.base import Engine
from posestream.models.engines.fake import FakeEngine
from posestream.models.registry import load_registry
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights, WeightStore
from posestream.pipeline import job as job_module
from posestream.pipeline.job import plan_job
from posestream.pipeline.replica import serving as serving_module
from posestream.pipeline.settings import Settings
from posestream.pipeline.summary import Summary
from posestream.pipeline.supervision.crew import start_job
from posestream.pipeline.supervision.patience import Patience
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.stages.output.sink import Sink

#: Nothing here takes longer; a test that waits so long has lost a wake-up.
DEADLINE_S = 60.0


class Workshop:
    """Makes the engines of a test's replicas, and keeps them."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.engines: list[FakeEngine] = []
        #: What makes an engine; tests put their own here.
        self.make: Callable[[NetworkSpec], Engine] = FakeEngine

    def open(self, *_: object) -> Engine:
        """Open an engine as the real function does, whatever is asked for."""
        engine = self.make(self.spec)
        if isinstance(engine, FakeEngine):
            self.engines.append(engine)
        return engine


@pytest.fixture
def spec() -> NetworkSpec:
    """A network of the registry, of which only the shapes are used."""
    return load_registry()["mobilenet-thin"]


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A context that must end, which it does only when every socket is closed."""
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    terminator = threading.Thread(target=made.term, daemon=True)
    terminator.start()
    terminator.join(DEADLINE_S)
    assert made.closed, "a socket was left open"


@pytest.fixture
def workshop(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Fake engines in every replica, with no network's files and no device asked for."""
    made = Workshop(spec)
    monkeypatch.setattr(serving_module, "open_engine", made.open)
    monkeypatch.setattr(job_module, "choose", lambda *_: Choice(spec, Weights(spec, ()), "cpu", "a fake"))
    monkeypatch.setattr(job_module, "check_device", lambda _: None)
    return made


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of numbered pictures; those numbered in `broken` cannot be decoded."""

    def make(count: int, name: str = "pictures", broken: Sequence[int] = ()) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number in range(count):
            path = folder / f"{number}.png"
            cv2.imwrite(str(path), np.full((48, 64, 3), 16 + 4 * (number % 60), np.uint8))
            if number in broken:
                path.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
        return folder

    return make


def wait_until(supervisor: Supervisor, is_so: Callable[[], object]) -> None:
    """Let a run go on until something is so."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"hangs: {supervisor!r}"
        supervisor.wait(0.05)


class Runs:
    """Runs jobs, and checks after each that nothing of it is left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self._contexts: list[zmq.Context[Any]] = []
        self._caplog = caplog
        #: What another test left, if it failed, is no fault of this one's.
        self._before = set(threading.enumerate())
        self._open: list[Supervisor] = []
        contexts, opened, close = self._contexts, self._open, Supervisor.close

        class Noted(zmq.Context):  # type: ignore[type-arg]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                contexts.append(self)

        def closed(supervisor: Supervisor) -> Summary:
            opened[:] = [other for other in opened if other is not supervisor]
            return close(supervisor)

        monkeypatch.setattr("posestream.pipeline.supervision.crew.zmq.Context", Noted)
        monkeypatch.setattr(Supervisor, "close", closed)

    def start(
        self,
        raw: dict[str, Any],
        extra_sinks: Sequence[Callable[[str], Sink]] = (),
        patience: Patience | None = None,
    ) -> Supervisor:
        """Plan and start a job."""
        raw = {"network": {"net_height": 64}, **raw}
        job = plan_job(Settings.parse(raw), WeightStore.from_environment())
        supervisor = start_job(job, extra_sinks, patience=patience)
        self._open.append(supervisor)
        return supervisor

    def close(self) -> None:
        """End what a test that failed has not ended."""
        for supervisor in list(self._open):
            supervisor.close()

    def finish(self, supervisor: Supervisor) -> Summary:
        """Wait for a run's end and close it."""
        wait_until(supervisor, lambda: not supervisor.is_running or supervisor.has_crashed)
        summary = supervisor.close()
        self.check_nothing_is_left()
        return summary

    def end_contexts(self) -> None:
        """End the contexts that were left to a thread that hung and hangs no more."""
        for context in self._contexts:
            context.term()

    def run(self, raw: dict[str, Any], extra_sinks: Sequence[Callable[[str], Sink]] = ()) -> Summary:
        """Run a job from start to end."""
        return self.finish(self.start(raw, extra_sinks))

    def check_nothing_is_left(self) -> None:
        """Every thread has ended and every context is terminated."""
        threads = [thread.name for thread in threading.enumerate() if thread not in self._before]
        assert [name for name in threads if "/" in name or name == "dispatch"] == []
        assert all(context.closed for context in self._contexts)
        late = [r.getMessage() for r in self._caplog.records if r.levelno >= logging.WARNING and "in time" in r.msg]
        assert late == []


@pytest.fixture
def runs(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Runs]:
    """Whole runs with fake engines."""
    made = Runs(monkeypatch, caplog)
    yield made
    made.close()
