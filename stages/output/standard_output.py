"""Standard output as several sources share it: one whole line after the other."""

from __future__ import annotations

import errno
import os
import sys
import threading

from posestream.stages.output.sink import write_whole

__all__ = ["StandardOutput"]

#: A process has one standard output, and so it has one lock. A pipe takes no more than 4 KB (PIPE_BUF) in one piece; a
#: longer line could otherwise have another source's in its middle.
_WRITING = threading.Lock()


class StandardOutput:
    """Takes whole lines, which nobody else in this process interrupts.

    Raises:
        OSError: standard output is closed.
    """

    def __init__(self) -> None:
        if sys.__stdout__ is None:
            # What has its number by now is another file.
            raise OSError(errno.EBADF, "it is closed")
        # A descriptor of its own: closing it leaves the process its standard output.
        self._descriptor = os.dup(sys.__stdout__.fileno())
        self._is_open = True

    def __enter__(self) -> StandardOutput:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write(self, lines: bytes) -> None:
        """Write whole lines.

        Raises:
            OSError: the system took less than all of it, with its reason.
        """
        with _WRITING:
            write_whole(self._descriptor, lines)

    def close(self) -> None:
        """Let go of it; closing again does nothing."""
        if self._is_open:
            self._is_open = False
            os.close(self._descriptor)
