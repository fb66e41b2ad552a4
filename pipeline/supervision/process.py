"""Processes of the pipeline, as the head sees them: started afresh, told what to do on their standard input."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any, Protocol

__all__ = ["PAUSE", "RESUME", "STOP", "ChildProcess", "LogOptions", "OutputReader"]

_log = logging.getLogger(__name__)

#: The lines that ask a child to finish, to wait, and to go on.
STOP, PAUSE, RESUME = b"stop\n", b"pause\n", b"resume\n"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How a process logs: as the head does."""

    log_format: str = "text"
    is_quiet: bool = False
    is_debugging: bool = False


class OutputReader(Protocol):
    """Reads a process's standard output."""

    def start(self, pipe: IO[bytes]) -> None:
        """Begin to read an unbuffered pipe to its end; it is closed then."""


class ChildProcess:
    """A process of ours. It ends when it has finished, when it is told to, or when we are gone.

    Args:
        name: for people.
        role: what it is, a lane, a replica or a porch.
        work: what it is to do.
        log: how it logs.
        reader: reads its standard output; None: it has ours.
        module: the program.
    """

    def __init__(
        self,
        name: str,
        role: str,
        work: Mapping[str, Any],
        log: LogOptions,
        reader: OutputReader | None = None,
        module: str = "posestream.pipeline.supervision.child",
    ) -> None:
        self.name = name
        self._module = module
        self._reader = reader
        self._role = role
        self._config = {"log": asdict(log), "work": work}
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        if self._process is None:
            return f"<ChildProcess {self.name} not started>"
        return f"<ChildProcess {self.name} pid={self._process.pid} returned={self._process.poll()}>"

    @property
    def is_alive(self) -> bool:
        """True from start to end."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's number; None before it was started."""
        return None if self._process is None else self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended: its exit code, a signal's number with a minus; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it in a session of its own, so that a Ctrl-C at the terminal reaches only the head."""
        command = [sys.executable, "-m", self._module, self._role]
        # Unbuffered, so that nothing is left to be flushed to a process that has gone.
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            command,
            stdin=subprocess.PIPE,
            stdout=None if self._reader is None else subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        if self._reader is not None and self._process.stdout is not None:
            self._reader.start(self._process.stdout)
        self._write(json.dumps(self._config).encode() + b"\n")

    def stop(self) -> None:
        """Ask it to finish."""
        self.say(STOP)

    def say(self, word: bytes) -> None:
        """Write a line to it; one that has gone hears nothing."""
        self._write(word)

    def kill(self) -> None:
        """End it at once; a stopped one too."""
        if self._process is not None:
            self._process.kill()

    def join(self, deadline_s: float) -> bool:
        """Wait for its end until the monotonic clock's `deadline_s`; False if it has not come."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        if self._process.stdin is not None:
            self._process.stdin.close()
        return True

    def _write(self, line: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            _log.debug("%s has gone already", self.name)
