"""`bench churn`: sources are added to a run and removed again and again: what each leaves in its processes' memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from posestream.pipeline.bench.cost import resident_mb
from posestream.pipeline.bench.measure import report
from posestream.pipeline.bench.program import Program
from posestream.pipeline.bench.scale import Mode
from posestream.pipeline.control.client import ask, list_sources
from posestream.pipeline.control.roster import Question
from posestream.pipeline.errors import HeadError
from posestream.pipeline.supervision.run_folder import CONTROL_SOCKET
from posestream.pipeline.wire.control import AddSource, Agreed, RemoveSource, SourceEntry

__all__ = ["ChurnPlan", "measure_churn", "trend"]

#: Memory counts from this change on: the last hundred sources are kept with all that is known of them.
_SETTLED = 120
#: So many changes are the least whose trend means something.
_LEAST = 20
#: How long anything that is waited for may take, and how often it is looked at, in seconds.
_PATIENCE_S, _LOOK_S = 120.0, 0.05
#: A device that needs no network's file and takes 2 ms, and published messages that are soon too old to be kept.
_RUN = ("--net-height", 64, "--set", 'replicas.devices=["simulated:2"]', "--set", "publish.log_age_s=5")


@dataclass(frozen=True, slots=True)
class ChurnPlan:
    """What `bench churn` is to do: so many sources of this address come and go, one after the other."""

    changes: int
    mode: Mode
    source: str
    #: True: everything is published over TCP, by a process of its own.
    is_published: bool


def measure_churn(plan: ChurnPlan) -> None:
    """Let the sources come and go in a run of its own, and print the report."""
    with TemporaryDirectory(prefix="posestream-bench-") as folder:
        published = ("--publish", "tcp://127.0.0.1:*") if plan.is_published else ()
        with Program(Path(folder), "run", "--control", "--mode", plan.mode, *_RUN, *published) as program:
            head = _Head(program)
            memory = [head.memory_mb()]
            for number in range(1, plan.changes + 1):
                head.come_and_go(plan.source, f"guest-{number}")
                memory.append(head.memory_mb())
                if number % 20 == 0:
                    click.echo(f"{number} changes: {memory[-1]} MB", err=True)
    run = {part: trend([sample[part] for sample in memory]) for part in memory[0]}
    report({"bench": "churn", "mode": plan.mode, "source": plan.source, "changes": plan.changes, "runs": [run]})


class _Head:
    """The run, and what it is asked."""

    def __init__(self, program: Program) -> None:
        self._program = program
        (self._address,) = self._wait_for(lambda: [path for path in program.sockets() if path.name == CONTROL_SOCKET])
        # It listens before it starts its parts, and answers when they have begun.
        self._wait_for(self._answers)

    def come_and_go(self, url: str, name: str) -> None:
        """Add a source, and remove it when a frame of it is done.

        Raises:
            RuntimeError: it does not come, or does not go.
        """
        self._say(AddSource(json.dumps({"url": url, "name": name})))
        self._wait_for(lambda: self._entry(name).posed)
        self._say(RemoveSource(name))
        self._wait_for(lambda: self._entry(name).state in {"removed", "ended"})

    def memory_mb(self) -> dict[str, float]:
        """Give the memory of the head, and of the process that publishes where there is one."""
        parts = {"head": [self._program.pid], "porch": self._program.children("porch")}
        return {part: round(resident_mb(pid), 2) for part, pids in parts.items() for pid in pids}

    def _say(self, question: Question) -> None:
        answer = ask(f"ipc://{self._address}", question)
        if not isinstance(answer, Agreed):
            raise RuntimeError(f"{question} is answered by {answer}")

    def _answers(self) -> bool:
        try:
            return list_sources(f"ipc://{self._address}") == []
        except HeadError:
            return False

    def _entry(self, name: str) -> SourceEntry:
        return next(entry for entry in list_sources(f"ipc://{self._address}") if entry.name == name)

    def _wait_for(self, what: Callable[[], Any]) -> Any:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not (found := what()):
            if time.monotonic() > deadline_s or not self._program.is_running:
                raise RuntimeError(f"the run does not go on: {self._program.errors[-3:]}")
            time.sleep(_LOOK_S)
        return found


def trend(samples_mb: Sequence[float]) -> dict[str, Any]:
    """Tell some of the samples, and how they grow with each change by least squares, in KB; None: too few."""
    settled = samples_mb[_SETTLED:]
    slope = None
    if len(settled) >= _LEAST:
        slope = round(float(np.polyfit(np.arange(len(settled)), settled, 1)[0]) * 1000, 2)
    return {"memory_mb": list(samples_mb[:: max(1, len(samples_mb) // 20)]), "kb_per_change": slope}
