"""The lines of a lane's process on their way to standard output: the head alone writes there, whole lines only."""

from __future__ import annotations

import errno
import logging
import threading
import time
from typing import IO

from posestream.stages.output.standard_output import StandardOutput

__all__ = ["LineRelay"]

_log = logging.getLogger(__name__)

#: Bytes that are read at once.
_CHUNK_BYTES = 1 << 16


class LineRelay:
    """Passes on what a process writes, and remembers the last line, from which a successor goes on.

    What the process has begun and not finished when it dies is left out. When standard output fails, the process
    finds its own end closed.

    Args:
        last_line: what the process before it wrote last; empty where there was none.
    """

    def __init__(self, last_line: bytes = b"") -> None:
        self.last_line = last_line
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<LineRelay {'open' if self.is_alive else 'closed'} last={self.last_line[:80]!r}>"

    @property
    def is_alive(self) -> bool:
        """True until all that the process wrote has been passed on."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, pipe: IO[bytes]) -> None:
        """Begin to read an unbuffered pipe to its end; it is closed then."""
        # A daemon, so that a reader who does not read cannot keep a program that gave up waiting from ending.
        self._thread = threading.Thread(target=self._run, args=(pipe,), name="lines", daemon=True)
        self._thread.start()

    def join(self, deadline_s: float) -> bool:
        """Wait until all is passed on; False if it is not by the monotonic clock's `deadline_s`."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return not self.is_alive

    def _run(self, pipe: IO[bytes]) -> None:
        with pipe:
            try:
                self._pass_on(pipe)
            except OSError as error:
                # Of a reader that has gone, the process will hear itself.
                level = logging.DEBUG if error.errno == errno.EPIPE else logging.ERROR
                _log.log(level, "cannot write standard output: %s", error.strerror)

    def _pass_on(self, pipe: IO[bytes]) -> None:
        begun = b""
        with StandardOutput() as output:
            while chunk := pipe.read(_CHUNK_BYTES):
                lines, newline, begun = (begun + chunk).rpartition(b"\n")
                if newline:
                    output.write(lines + newline)
                    self.last_line = lines.rpartition(b"\n")[2]
