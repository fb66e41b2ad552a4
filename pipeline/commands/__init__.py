"""The command line: one file per command; `program` has them all."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from posestream.pipeline.leave import leave

__all__ = ["entry", "main"]

#: ExitCode.STOPPED_AT_ONCE, which would take its time to import.
_STOPPED = 130


def entry() -> NoReturn:
    """Run the command line as a program, which ends with its exit code."""
    leave(main())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give the exit code."""
    try:
        with _terminations_as_interrupts():
            words = sys.argv[1:] if arguments is None else arguments
            try:
                # Libraries take a second to load, in which people press Ctrl-C too.
                from posestream.pipeline.commands.program import run_words  # noqa: PLC0415
            except ImportError as error:
                from posestream.pipeline.commands.broken import tell_broken  # noqa: PLC0415 - it is seldom needed

                return tell_broken(error, words)
            return run_words(words)
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("posestream: stopped before it began\n")
        return _STOPPED


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """Let SIGTERM clean up as Ctrl-C does, until a run takes both: half a download is taken away, for one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
