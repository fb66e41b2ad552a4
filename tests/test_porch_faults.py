"""What subscribers hear while their porch is stopped or killed, or the whole head is: by the command line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posestream.pipeline.bench.ports import free_ports
from posestream.pipeline.bench.program import Program
from posestream.pipeline.client.order import Gap
from posestream.pipeline.client.subscription import AsyncMessages

from .e2e import DEADLINE_S, messages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc, which only Linux has")

#: Frames of a run, and how long each takes, in milliseconds: it lasts well beyond the ten seconds of a hanging porch.
_FRAMES, _SERVICE_MS = 1000, 20


def porch_of(head: Program) -> int | None:
    """Give the number of a head's porch; None while there is none."""
    for pid in head.family():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"posestream.pipeline.publish.porch" in words:
            return pid
    return None


def wait_until(is_so: Callable[[], object], head: Program) -> None:
    """Wait for what other processes do."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, head.errors
        time.sleep(0.02)


def start(folder: Path, port: int, *words: object) -> Program:
    """Start a head that publishes a source of numbers and keeps what it publishes on disk."""
    return Program(
        folder,
        *("run", f"synthetic:64x64x{_FRAMES}", "--net-height", 64, "--device", f"simulated:{_SERVICE_MS}"),
        *("--publish", f"tcp://127.0.0.1:{port}", "--replay-log", folder / "log", "--save-jsonl", folder / "out.jsonl"),
        *("--set", "publish.log_messages=10000", *words),
    )


def stop_porch(head: Program, _folder: Path, _port: int) -> Program:
    """Stop the porch for longer than a head lets it be silent: another one follows."""
    pid = porch_of(head)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    begun_s = time.monotonic()
    wait_until(lambda: porch_of(head) not in (None, pid), head)
    assert time.monotonic() - begun_s > 9.0
    return head


def kill_porch(head: Program, _folder: Path, _port: int) -> Program:
    """Kill the porch twice, the second one as soon as it is there."""
    for _ in range(2):
        pid = porch_of(head)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: porch_of(head) not in (None, pid), head)  # type: ignore[misc]
    return head


def _untimed(message: dict[str, Any]) -> dict[str, Any]:
    """Leave out the times: a frame that a killed head had published and not written is done again by the next."""
    return {key: value for key, value in message.items() if not key.endswith("_at")}


def kill_head(head: Program, folder: Path, port: int) -> Program:
    """Kill the head and let another one go on."""
    head.signal(signal.SIGKILL)
    head.wait(DEADLINE_S)
    assert head.wait_until_gone() == []
    return start(folder, port, "--resume")


@pytest.mark.parametrize("fault", [stop_porch, kill_porch, kill_head])
def test_no_subscriber_misses_anything(tmp_path: Path, fault: Callable[[Program, Path, int], Program]) -> None:
    """A program that records and a loop of asyncio hear each message once and in order, as the head's file has them."""
    (port,) = free_ports(1)
    gaps: list[Gap] = []

    async def listen() -> list[int]:
        address = f"tcp://127.0.0.1:{port}"
        async with AsyncMessages(address, replay=True, on_gap=gaps.append, idle_s=DEADLINE_S) as heard:
            numbers: list[int] = []
            async for message in heard:
                numbers.append(message["n"])
                if len(numbers) == _FRAMES:
                    break
            return numbers

    async def everything(head: Program) -> tuple[list[int], Program]:
        listening = asyncio.create_task(listen())
        await asyncio.to_thread(wait_until, lambda: _size(tmp_path / "heard.jsonl"), head)
        follower = await asyncio.to_thread(fault, head, tmp_path, port)
        return await asyncio.wait_for(listening, DEADLINE_S), follower

    words = ("subscribe", f"tcp://127.0.0.1:{port}", "--record", tmp_path / "heard.jsonl", "--count", _FRAMES)
    with Program(tmp_path, *words) as subscriber, start(tmp_path, port) as head:
        numbers, follower = asyncio.run(everything(head))
        with follower:
            assert follower.wait(DEADLINE_S) == 0, follower.errors
        assert subscriber.wait(DEADLINE_S) == 0, subscriber.errors
    assert numbers == list(range(_FRAMES))
    assert gaps == []
    heard = messages(tmp_path / "heard.jsonl")
    assert [message["n"] for message in heard] == list(range(_FRAMES))
    assert [_untimed(message) for message in heard] == [_untimed(m) for m in messages(tmp_path / "out.jsonl")]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
