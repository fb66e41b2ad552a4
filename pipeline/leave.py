"""The end of a process: in order, or at once where a thread is left that no order reaches."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

__all__ = ["leave"]


def leave(code: int) -> NoReturn:
    """End this process with an exit code.

    A reader that was abandoned in a camera's library, or an engine in its inference, still runs. It would come back
    into an interpreter that is being taken down, which ends some of these processes with SIGSEGV instead of their
    code. Everything that is to be closed has been closed by now.
    """
    if not any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        sys.exit(code)
    # A process that was started with one of them closed has none.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        # Whoever reads may have gone.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
