"""Lines on standard output from several processes: whole, in order, none twice and none missing, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .e2e import DEADLINE_S, messages, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds a process's children as Linux tells them")

#: A device that needs no network's file and no time to speak of.
_DEVICE = ("--net-height", 64, "--set", 'replicas.devices=["simulated:2"]', "--set", "replicas.window=4")


@contextmanager
def started(folder: Path, *words: object) -> Iterator[subprocess.Popen[str]]:
    """Run processes with lines on standard output; whatever happens, they have ended afterwards."""
    command = program("run", *words, "--mode", "processes", "--save-jsonl", "-", "-q", *_DEVICE)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    with subprocess.Popen(  # noqa: S603 — our own program
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lane_of(process: subprocess.Popen[str]) -> int:
    """Give the process number of the first lane."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if b"\0lane" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise AssertionError("no lane")


def test_a_lane_that_is_killed_goes_on_with_its_lines(tmp_path: Path) -> None:
    """Killed in the middle, a lane is started again, and whoever reads the lines notices nothing."""
    with started(tmp_path, "synthetic:64x64x400") as process:
        assert process.stdout
        assert process.stderr
        first = [process.stdout.readline() for _ in range(20)]
        os.kill(lane_of(process), signal.SIGKILL)
        rest = process.stdout.read()
        told = process.stderr.read()
        code = process.wait(DEADLINE_S)
    lines = messages("".join(first) + rest)
    assert (code, [line for line in told.splitlines() if "started again" not in line]) == (0, [])
    assert [message["seq"] for message in lines] == [message["n"] for message in lines] == list(range(400))
    assert len({message["run"] for message in lines}) == 1


def test_several_processes_share_standard_output(tmp_path: Path) -> None:
    """The lines of several sources come one after the other, each source's in order."""
    with started(tmp_path, "synthetic:64x64x60", "synthetic:32x32x60") as process:
        told, complaints = process.communicate(timeout=DEADLINE_S)
    lines = messages(told)
    assert (process.returncode, complaints) == (0, "")
    for source in {message["source"] for message in lines}:
        assert [message["seq"] for message in lines if message["source"] == source] == list(range(60))
    assert len(lines) == 120


def test_a_reader_that_leaves_ends_the_run(tmp_path: Path) -> None:
    """Nobody reads the lines any more: one line says so, and the exit code is that of an output."""
    with started(tmp_path, "synthetic:64x64") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
        code = process.wait(DEADLINE_S)
    assert code == 5
    assert "cannot write standard output: Broken pipe; keep the program that reads it running" in told
    assert len(told.splitlines()) == 1
