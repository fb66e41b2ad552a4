"""The command line as a process of its own that can be killed, and what it leaves behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Program"]

_CODE = "from posestream.pipeline.commands import entry; entry()"
#: Marks a program and all that it starts, whoever their parent is by then.
_MARK = "POSESTREAM_BENCH_MARK"
#: How often things are looked at, in seconds.
_TICK_S = 0.02
#: Processes that outlive their head close their files and go within a few seconds.
_GONE_S = 15.0


class Program:
    """Runs the command line with a folder of its own for sockets. Linux only: it reads /proc.

    Args:
        folder: where its sockets' folders and its messages go; shared by programs that follow each other.
        words: the command and its options.
    """

    def __init__(self, folder: Path, *words: object) -> None:
        self._runtime = folder / "runtime"
        self._runtime.mkdir(mode=0o700, exist_ok=True)
        self._mark = secrets.token_hex(8)
        self._errors = folder / f"stderr-{self._mark}.txt"
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self._runtime), _MARK: self._mark}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _CODE, *map(str, words)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""
        for pid in self.family():
            _signal(pid, signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None

    @property
    def errors(self) -> list[str]:
        """What it said on standard error."""
        return self._errors.read_text(errors="replace").splitlines()

    def children(self, role: str) -> list[int]:
        """List its processes of a role, "lane", "replica" or "porch"."""
        words = {pid: _words(pid) for pid in self.family()}
        return [pid for pid, said in words.items() if said[1:2] == ["-m"] and said[-1] == role]

    def wait_for_children(self, role: str, timeout_s: float) -> list[int]:
        """Wait until it has processes of a role and list them: one that has just been replaced is missing for a while.

        Raises:
            RuntimeError: it has ended, or has none in time; with the last that it said.
        """
        deadline_s = time.monotonic() + timeout_s
        while not (found := self.children(role)):
            if not self.is_running or time.monotonic() > deadline_s:
                state = "it runs" if self.is_running else f"it ended with {self._process.returncode}"
                raise RuntimeError(f"no {role} process was found, {state}: {' / '.join(self.errors[-3:])}")
            time.sleep(_TICK_S)
        return found

    def family(self) -> list[int]:
        """List it and all that it has started, those that have lost their parent included."""
        mark = f"{_MARK}={self._mark}".encode()
        return sorted(pid for pid in _pids() if mark in _read(pid, "environ").split(b"\0"))

    def sockets(self) -> list[Path]:
        """List the socket files of running and former heads of its folder."""
        return sorted(path for path in self._runtime.glob("*/*") if path.is_socket())

    def signal(self, number: int) -> None:
        """Send it a signal."""
        _signal(self.pid, number)

    def signal_other(self, pid: int, number: int) -> None:
        """Send a signal to one of its family."""
        if pid in self.family():
            _signal(pid, number)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end and give its exit code; None if it has not ended in time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def wait_until_gone(self) -> list[str]:
        """Wait until no process of its family is left, and tell of what is still there."""
        self._process.poll()
        deadline_s = time.monotonic() + _GONE_S
        while (left := self.family()) and time.monotonic() < deadline_s:
            time.sleep(_TICK_S)
        return [f"process {pid} is left: {' '.join(_words(pid))}" for pid in left]

    def left_files(self) -> list[str]:
        """Tell of socket folders and shared memory that are left."""
        left = [*self._runtime.iterdir(), *Path("/dev/shm").glob("*posestream*")]  # noqa: S108 - where segments show
        return [f"{path} is left" for path in left]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _words(pid: int) -> list[str]:
    return [word.decode(errors="replace") for word in _read(pid, "cmdline").split(b"\0") if word]


def _read(pid: int, name: str) -> bytes:
    """Read a file of a process; empty for one that has gone, is a zombie or is not ours."""
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
