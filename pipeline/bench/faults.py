"""`bench faults`: real processes are killed, stopped, cut off and shouted at; nothing of the result may change."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgpack
import zmq

from posestream.pipeline.bench.fuzzer import fuzz, fuzz_raw
from posestream.pipeline.bench.hang_faults import engine_hung
from posestream.pipeline.bench.measure import report
from posestream.pipeline.bench.ports import free_ports
from posestream.pipeline.bench.program import Program
from posestream.pipeline.bench.proxy import Proxy
from posestream.pipeline.bench.publish_faults import lane_killed, publisher_killed, subscriber_killed
from posestream.pipeline.bench.reset_faults import sockets_reset
from posestream.pipeline.bench.scene import PATIENCE_S, SYNTHETIC, Scene, differences, make_scene, synthetic_differences
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.supervision.run_folder import CONTROL_SOCKET
from posestream.pipeline.wire.sockets import Sockets, ZmqContext

__all__ = ["FAULTS", "FaultsPlan", "measure_faults", "run_faults"]

#: How often a program is looked at, in seconds.
_TICK_S = 0.01
#: Connections that send no ZeroMQ at all, to each address.
_RAW_CONNECTIONS = 50
#: So many of the fuzzer's messages must have been counted; some never come, since a huge one cuts its connection.
_LEAST_COUNTED = 0.9


@dataclass(frozen=True, slots=True)
class FaultsPlan:
    """What `bench faults` is to do."""

    #: Runs of each fault; those that need only one have a tenth.
    runs: int
    #: Names of faults; empty: all of them.
    only: Sequence[str] = ()
    #: Frames of the clip, and the time of one inference.
    frames: int = 300
    service_ms: float = 10.0
    #: Messages from the fuzzer to each address.
    messages: int = 10_000
    #: Runs at the same time.
    jobs: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a fault: where, on what, and the chance in it."""

    scene: Scene
    folder: Path
    rng: random.Random
    plan: FaultsPlan

    @property
    def output(self) -> Path:
        """Its messages."""
        return self.folder / "out.jsonl"

    def start(self, *more: object, replicas: int = 2) -> Program:
        """Start the head."""
        return Program(self.folder, *self.scene.words(self.output, *more, replicas=replicas))

    @property
    def told(self) -> int:
        """Messages so far."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    def wait_for_results(self, head: Program, share: float = 0.8) -> str:
        """Wait for a message, and for some of those to come, `share` of them at most; tell what went wrong meanwhile.

        The rest is still to be done, so that whoever is disturbed next has work in hand.
        """
        deadline_s = time.monotonic() + PATIENCE_S
        enough = self.told + 1
        enough += int(self.rng.uniform(0.0, share) * max(0, len(self.scene.expected) - enough))
        while self.told < enough:
            if not head.is_running or time.monotonic() > deadline_s:
                return f"{self.told} results: {' / '.join(head.errors[-3:])}"
            time.sleep(_TICK_S)
        return "" if head.is_running else "it ended before it could be disturbed"

    def outcome(self, head: Program, compare: Callable[[Scene, Path], str] = differences) -> str:
        """Wait for the end and tell what is wrong with it; empty if nothing is."""
        ended = head.wait(PATIENCE_S)
        if ended is None:
            return f"it did not end in {PATIENCE_S:g} s: {' / '.join(head.errors[-3:])}"
        if ended != ExitCode.DONE:
            return f"exit code {ended}: {' / '.join(head.errors[-3:])}"
        wrong = [compare(self.scene, self.output), *head.wait_until_gone(), *head.left_files()]
        return "; ".join(text for text in wrong if text)


def _child(role: str, number: int) -> Callable[[_Run], str]:
    """Make the fault that sends a signal to one of the head's processes."""

    def run(run: _Run) -> str:
        with run.start() as head:
            trouble = run.wait_for_results(head)
            if trouble:
                return trouble
            victim = run.rng.choice(head.wait_for_children(role, PATIENCE_S))
            head.signal_other(victim, number)
            is_late = run.told >= len(run.scene.expected)
            return "it came too late to disturb" if is_late else run.outcome(head)

    return run


def _resume(run: _Run) -> str:
    """Kill the head; its processes must go, and `--resume` must finish the job."""
    with run.start() as head:
        trouble = run.wait_for_results(head)
        if trouble:
            return trouble
        head.signal(signal.SIGKILL)
        head.wait(PATIENCE_S)
        left = head.wait_until_gone()
    if left:
        return "; ".join(left)
    with run.start("--resume") as head:
        return run.outcome(head)


def _worker(number: int) -> Callable[[_Run], str]:
    """Make the fault that cuts off one of two workers that came over TCP."""

    def run(run: _Run) -> str:
        address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        words = ["--listen", address, "--set", 'replicas.devices=["none"]']
        with run.start(*words, replicas=1) as head:
            worker_words = ["worker", "--connect", address, "--device", run.scene.device]
            with Program(run.folder, *worker_words) as worker, Program(run.folder, *worker_words) as other:
                trouble = run.wait_for_results(head)
                if trouble:
                    return trouble
                worker.signal(number)
                trouble = run.outcome(head)
                # The head has said to those who still hear it that it ends.
                return trouble or ("" if other.wait(PATIENCE_S) == 0 else f"the other worker: {other.errors[-1:]}")

    return run


def _wire(run: _Run) -> str:
    """Cut the connection of the only worker three times; it calls again, and what was on its way must not be missed."""
    (port,) = free_ports(1)
    words = ["--listen", f"tcp://127.0.0.1:{port}", "--set", 'replicas.devices=["none"]']
    with (
        run.start(*words, replicas=1) as head,
        Proxy(port) as proxy,
        Program(run.folder, "worker", "--connect", proxy.address, "--device", run.scene.device) as worker,
    ):
        for _ in range(3):
            trouble = run.wait_for_results(head, 0.5)
            if trouble:
                return trouble
            proxy.cut()
        return run.outcome(head) or ("" if worker.wait(PATIENCE_S) == 0 else f"the worker: {worker.errors[-1:]}")


def _fuzz(run: _Run) -> str:
    """Shout at every socket of a head while it works."""
    address, status = f"tcp://127.0.0.1:{free_ports(1)[0]}", f"ipc://{run.folder}/status"
    # It must still be at work when the last message comes, so its source has no end.
    more = ["--listen", address, "--set", f'pipeline.status=["{status}"]']
    with Program(run.folder, *run.scene.words(run.output, *more, source=SYNTHETIC)) as head:
        trouble = run.wait_for_results(head)
        if trouble:
            return trouble
        sockets = {path.name: f"ipc://{path}" for path in head.sockets()}
        if sockets.keys() != {"lanes", "replicas", CONTROL_SOCKET}:
            return f"sockets were not found: {sockets}"
        # It looks ten times a second and counts for itself.
        fuzz_raw(sockets[CONTROL_SOCKET], _RAW_CONNECTIONS, run.rng.randrange(1 << 30))
        targets = [address, sockets["lanes"], sockets["replicas"]]
        for target in targets:
            fuzz(target, run.plan.messages, run.rng.randrange(1 << 30))
            fuzz_raw(target, _RAW_CONNECTIONS, run.rng.randrange(1 << 30))
        if not head.is_running:
            return f"it ended too early: {' / '.join(head.errors[-3:])}"
        counted = _malformed(status)
        if counted < _LEAST_COUNTED * 3 * run.plan.messages:
            return f"it counted {counted} malformed messages of {3 * run.plan.messages}"
        head.signal(signal.SIGTERM)
        return run.outcome(head, synthetic_differences)


def _bad_neighbour(run: _Run) -> str:
    """Let one source be damaged; the other one's messages must be what they are alone."""
    damaged = run.folder / "damaged.mp4"
    clip = run.scene.clip.read_bytes()
    damaged.write_bytes(clip[: run.rng.randrange(len(clip) // 4, len(clip) // 2)])
    output = run.folder / "{source}.jsonl"
    with Program(run.folder, *run.scene.words(output, damaged)) as head:
        ended = head.wait(PATIENCE_S)
        if ended != ExitCode.SOURCE:
            return f"exit code {ended}, not {int(ExitCode.SOURCE)}: {' / '.join(head.errors[-3:])}"
        wrong = [differences(run.scene, run.folder / "clip.jsonl"), *head.wait_until_gone(), *head.left_files()]
        return "; ".join(text for text in wrong if text)


def _no_network(run: _Run) -> str:
    """Give replicas a network that they cannot load: one line and exit code 4."""
    with run.start("--device", f"simulated:1:{run.folder / 'none.npz'}") as head:
        ended = head.wait(PATIENCE_S)
        if ended != ExitCode.ENGINE or len(head.errors) != 1:
            return f"exit code {ended}, not {int(ExitCode.ENGINE)}: {' / '.join(head.errors)}"
        return "; ".join([*head.wait_until_gone(), *head.left_files()])


#: Every fault, and whether it is one of chance, to be run as often as was asked for.
FAULTS: dict[str, tuple[Callable[[_Run], str], bool]] = {
    "lane killed": (_child("lane", signal.SIGKILL), True),
    "lane stopped": (_child("lane", signal.SIGSTOP), True),
    "replica killed": (_child("replica", signal.SIGKILL), True),
    "replica stopped": (_child("replica", signal.SIGSTOP), True),
    "engine hung": (engine_hung, True),
    "head killed and resumed": (_resume, True),
    "worker killed": (_worker(signal.SIGKILL), True),
    "worker stopped": (_worker(signal.SIGSTOP), True),
    "worker's wire cut": (_wire, True),
    "subscriber killed": (subscriber_killed, True),
    "publisher killed": (publisher_killed, True),
    "publishing lane killed": (lane_killed, True),
    "sockets fuzzed": (_fuzz, False),
    "connections reset": (sockets_reset, False),
    "source damaged": (_bad_neighbour, False),
    "network missing": (_no_network, False),
}


def measure_faults(plan: FaultsPlan) -> bool:
    """Run the faults and print the report; True if nothing was wrong."""
    results = run_faults(plan)
    report({"bench": "faults", "frames": plan.frames, "service_ms": plan.service_ms, "runs": results})
    return all(result["identical"] == result["runs"] for result in results)


def run_faults(plan: FaultsPlan) -> list[dict[str, Any]]:
    """Run each fault as often as was asked for; give how often it left the result as it was, and what went wrong."""
    faults = list(plan.only or FAULTS)
    counts = {fault: plan.runs if FAULTS[fault][1] else max(1, plan.runs // 10) for fault in faults}
    with tempfile.TemporaryDirectory(prefix="faults-") as name, ThreadPoolExecutor(plan.jobs) as pool:
        scene = make_scene(Path(name), plan.frames, plan.service_ms)
        started = {
            fault: [pool.submit(_once, plan, scene, fault, number) for number in range(counts[fault])]
            for fault in faults
        }
        return [_result(fault, [run.result() for run in runs]) for fault, runs in started.items()]


def _once(plan: FaultsPlan, scene: Scene, fault: str, number: int) -> str:
    """Run a fault once, in a folder of its own; tell what went wrong."""
    with tempfile.TemporaryDirectory(dir=scene.clip.parent) as folder:
        rng = random.Random(f"{plan.seed} {fault} {number}")  # noqa: S311 - to be repeated, not to be secret
        try:
            return FAULTS[fault][0](_Run(scene, Path(folder), rng, plan))
        except (OSError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"


def _result(fault: str, troubles: Sequence[str]) -> dict[str, Any]:
    wrong = [trouble for trouble in troubles if trouble]
    click.echo(f"{fault}: {len(troubles) - len(wrong)} of {len(troubles)}", err=True)
    for trouble in wrong:
        click.echo(f"    {trouble}", err=True)
    return {"fault": fault, "runs": len(troubles), "identical": len(troubles) - len(wrong), "wrong": wrong}


def _malformed(status: str) -> int:
    """Ask a head how many malformed messages it has counted."""
    context: ZmqContext = zmq.Context()
    with Sockets(context) as sockets:
        listener = sockets.open(zmq.SUB, connect=status)
        listener.setsockopt(zmq.SUBSCRIBE, b"status/")
        counted = -1
        while counted < 0 and listener.poll(int(PATIENCE_S * 1000)):
            topic, told = listener.recv_multipart()
            counted = msgpack.unpackb(told)["malformed"] if topic == b"status/" else counted
    context.term()
    return counted
