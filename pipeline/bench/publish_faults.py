"""What `bench faults` does to publishing: subscribers and publishers are killed, and nothing may be missing."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from posestream.pipeline.bench.program import Program
from posestream.pipeline.bench.scene import PATIENCE_S, SYNTHETIC, FaultRun
from posestream.pipeline.errors import ExitCode

__all__ = ["lane_killed", "publisher_killed", "subscriber_killed"]

#: How often files are looked at, in seconds.
_TICK_S = 0.02


def subscriber_killed(run: FaultRun) -> str:
    """Kill a subscriber that records; another one goes on with its file, which must become the head's own."""
    with Program(run.folder, *_head(run)) as head:
        trouble = run.wait_for_results(head, 0.0)
        with Program(run.folder, *_subscriber(run)) as subscriber:
            trouble = trouble or _grows(run.folder / "heard.jsonl")
            time.sleep(run.rng.uniform(0.0, 1.0))
            subscriber.signal(signal.SIGKILL)
            subscriber.wait(PATIENCE_S)
        time.sleep(run.rng.uniform(0.0, 0.5))
        with Program(run.folder, *_subscriber(run)) as subscriber:
            return trouble or _compared_at_the_end(run, head, subscriber)


def publisher_killed(run: FaultRun) -> str:
    """Kill a head that keeps its log on disk; one that resumes publishes on, and the subscriber misses nothing."""
    with Program(run.folder, *_subscriber(run)) as subscriber:
        with Program(run.folder, *_head(run)) as head:
            trouble = run.wait_for_results(head, 0.0) or _grows(run.folder / "heard.jsonl")
            time.sleep(run.rng.uniform(0.0, 1.0))
            head.signal(signal.SIGKILL)
            head.wait(PATIENCE_S)
            trouble = trouble or "; ".join(head.wait_until_gone())
        with Program(run.folder, *_head(run), "--resume") as head:
            return trouble or _compared_at_the_end(run, head, subscriber)


def lane_killed(run: FaultRun) -> str:
    """Kill the process of a recorded source's lane; the subscriber hears each message, and each once."""
    with Program(run.folder, *_subscriber(run)) as subscriber, Program(run.folder, *_head(run)) as head:
        trouble = run.wait_for_results(head, 0.0) or _grows(run.folder / "heard.jsonl")
        time.sleep(run.rng.uniform(0.0, 1.0))
        if trouble:
            return trouble
        for lane in head.wait_for_children("lane", PATIENCE_S):
            head.signal_other(lane, signal.SIGKILL)
        return _compared_at_the_end(run, head, subscriber)


def _head(run: FaultRun) -> list[object]:
    """Give the command of a head without an end that publishes and writes the same messages to a file."""
    log = ["--replay-log", run.folder / "log"]
    return run.scene.words(run.output, "--publish", _address(run), *log, source=SYNTHETIC)


def _subscriber(run: FaultRun) -> list[object]:
    return ["subscribe", _address(run), "--record", run.folder / "heard.jsonl", "--quiet"]


def _address(run: FaultRun) -> str:
    return f"ipc://{run.folder}/poses"


def _grows(path: Path) -> str:
    """Wait until a file has more in it than now; tell if it has not in time."""
    before = path.stat().st_size if path.exists() else 0
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if path.exists() and path.stat().st_size > before:
            return ""
        time.sleep(_TICK_S)
    return f"{path.name} does not grow"


def _hears(run: FaultRun) -> str:
    """Wait until the subscriber hears what the present head publishes; tell if it has not in time.

    What an earlier head had published may come as late as now, and so may the answer to a request, so that it must have
    heard something newer than all that was written before, twice.
    """
    heard = run.folder / "heard.jsonl"
    deadline_s = time.monotonic() + PATIENCE_S
    for _ in range(2):
        written = len(_messages(run.output))
        while len(_messages(heard)) <= written:
            if time.monotonic() > deadline_s:
                return f"the subscriber hears nothing new after {written} messages"
            time.sleep(_TICK_S)
    return ""


def _compared_at_the_end(run: FaultRun, head: Program, subscriber: Program) -> str:
    """Stop a head once the subscriber hears it, and compare what both have written."""
    trouble = _hears(run)
    head.signal(signal.SIGTERM)
    if head.wait(PATIENCE_S) != ExitCode.DONE:
        return f"{trouble}; the head: {head.errors[-3:]}"
    return "; ".join(text for text in (trouble, _compared(run, head, subscriber)) if text)


def _compared(run: FaultRun, head: Program, subscriber: Program) -> str:
    """Wait until the subscriber has all that a head, which has ended, has written; stop it and compare."""
    heard, trouble = run.folder / "heard.jsonl", ""
    written = _messages(run.output)
    deadline_s = time.monotonic() + PATIENCE_S
    while len(_messages(heard)) < len(written) and time.monotonic() < deadline_s:
        time.sleep(_TICK_S)
    subscriber.signal(signal.SIGTERM)
    if subscriber.wait(PATIENCE_S) != ExitCode.DONE:
        trouble += f"; the subscriber: {subscriber.errors[-3:]}"
    if subscriber.errors:
        trouble += f"; the subscriber said {subscriber.errors[-3:]}"
    numbers = [message["n"] for message in _messages(heard)]
    if numbers != list(range(len(written))):
        trouble += f"; {len(numbers)} messages were heard of {len(written)}, {len(set(numbers))} different ones"
    elif _messages(heard) != written:
        trouble += "; a message that was heard is another one than was written"
    return "; ".join(text for text in (trouble, *head.wait_until_gone()) if text)


def _messages(path: Path) -> list[dict[str, Any]]:
    """Read whole lines, without the times: a frame that is done again has others."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    told = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [{key: value for key, value in one.items() if not key.endswith("_at")} for one in told]
