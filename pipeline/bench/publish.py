"""`bench publish`: what it takes to be heard by many, each a process of its own, and what one that stops costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

from posestream.pipeline.bench.measure import report
from posestream.pipeline.bench.publish_peers import new_keys

__all__ = ["Kind", "PublishBenchPlan", "measure_publish", "run_publish"]

#: What a listener does with a message: decodes it into a typed result with `subscribe`, or only receives it.
Kind = Literal["decode", "receive"]

#: Messages that wait for a listener, and that are remembered.
_QUEUE, _LOG = 1000, 1000
#: A listener that hears nothing for so long gives up, in seconds.
_IDLE_S = 10.0
#: What the processes run.
_MODULE = "posestream.pipeline.bench.publish_peers"


@dataclass(frozen=True, slots=True)
class PublishBenchPlan:
    """What is measured."""

    subscribers: tuple[int, ...]
    kinds: tuple[Kind, ...]
    rate: float
    people: int
    seconds: float
    is_curve: bool = False
    #: True: once more with the most listeners of each kind, and one beside them that is stopped (SIGSTOP).
    with_stopped: bool = True


class _Peer:
    """A process that says one JSON object a line."""

    def __init__(self, role: str, config: dict[str, Any]) -> None:
        code = f"from {_MODULE} import main; main()"
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", code, role, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            # One thread is all that a listener needs, and NumPy makes more.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def hear(self) -> dict[str, Any]:
        """Give the next object that it says."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"a process of the bench ended with exit code {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def hear_result(self) -> dict[str, Any]:
        """Give what it tells at its end; others may join until then, of whom it hears too."""
        said = self.hear()
        while "is_ready" in said:
            said = self.hear()
        return said

    def go_on(self) -> None:
        """Let it do its next step."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()


def measure_publish(plan: PublishBenchPlan) -> None:
    """Measure everything and report."""
    runs = run_publish(plan)
    report(
        {
            "bench": "publish",
            "rate": plan.rate,
            "people": plan.people,
            "seconds": plan.seconds,
            "curve": plan.is_curve,
            "listeners_are": "processes",
            "runs": runs,
        }
    )


def run_publish(plan: PublishBenchPlan) -> list[dict[str, Any]]:
    """Measure each number of listeners of each kind, and then with one that is stopped."""
    runs = [_run(plan, kind, count, is_one_stopped=False) for kind in plan.kinds for count in plan.subscribers]
    if plan.with_stopped:
        runs += [_run(plan, kind, max(plan.subscribers), is_one_stopped=True) for kind in plan.kinds]
    return runs


def _run(plan: PublishBenchPlan, kind: Kind, count: int, *, is_one_stopped: bool) -> dict[str, Any]:
    messages = int(plan.rate * plan.seconds)
    with tempfile.TemporaryDirectory(prefix="publish-") as folder, ExitStack() as stack:
        keys = new_keys(Path(folder)) if plan.is_curve else dict.fromkeys(("server_key", "head", "key", "clients"), "")

        def start(role: str, config: dict[str, Any]) -> _Peer:
            peer = _Peer(role, config)
            stack.callback(peer.close)
            return peer

        head = {"key": keys["head"], "clients": keys["clients"], "queue": _QUEUE, "log": _LOG, "count": messages}
        pace = {"rate": plan.rate, "people": plan.people, "address": "tcp://127.0.0.1:*"}
        publisher = start("publish", {**head, **pace})
        listener = {
            "address": publisher.hear()["address"],
            "count": messages,
            "idle_s": _IDLE_S,
            "key": keys["key"],
            "server_key": keys["server_key"],
        }
        listeners = [start(kind, listener) for _ in range(count)]
        stopped = [start("receive", listener)] if is_one_stopped else []
        for peer in (*listeners, *stopped):
            peer.hear()
        for peer in stopped:
            peer.signal(signal.SIGSTOP)
        publisher.go_on()
        cost = publisher.hear()
        results = [peer.hear_result() for peer in listeners]
        publisher.go_on()
    return _told(kind, count, messages, is_one_stopped, cost, results)


def _told(
    kind: Kind, count: int, messages: int, is_one_stopped: bool, cost: dict[str, Any], results: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    delays_ms = np.concatenate([result["delays_ms"] for result in results])
    run = {
        "kind": kind,
        "subscribers": count,
        "stopped": int(is_one_stopped),
        "messages": messages,
        "lost": sum(messages - result["received"] for result in results),
        "p50_ms": round(float(np.percentile(delays_ms, 50)), 2),
        "p99_ms": round(float(np.percentile(delays_ms, 99)), 2),
        "max_ms": round(float(delays_ms.max()), 2),
        "message_ms": round(cost["message_ms"], 4),
        "encode_ms": round(cost["encode_ms"], 4),
        "cpu_ms_per_message": round(cost["cpu_ms_per_message"], 3),
        "porch_cpu_ms_per_message": round(cost["porch_cpu_ms_per_message"], 3),
        "listener_cpu_ms_per_message": round(sum(result["cpu_s"] for result in results) / count / messages * 1000, 3),
        "memory_mb": round(cost["memory_mb"], 1),
        "porch_memory_mb": round(cost["porch_memory_mb"], 1),
        "peak_memory_mb": round(cost["peak_memory_mb"], 1),
    }
    click.echo(
        f"{count:3} {kind}{', one stopped' if is_one_stopped else ''}: lost {run['lost']}, p50 {run['p50_ms']} ms, "
        f"p99 {run['p99_ms']} ms, encode {run['encode_ms']} ms, CPU {run['cpu_ms_per_message']} ms a message, "
        f"memory {run['memory_mb']} MB and {run['porch_memory_mb']} MB",
        err=True,
    )
    return run
