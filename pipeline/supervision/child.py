"""The program of a child process: a lane or a replica, told by its standard input what to do."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from posestream.pipeline.errors import ExitCode, exit_code_of
from posestream.pipeline.lane.child import run_lane
from posestream.pipeline.leave import leave
from posestream.pipeline.logs import set_up_logging
from posestream.pipeline.replica.process import run_replica
from posestream.pipeline.supervision.parent import Parent

__all__ = ["main"]

_log = logging.getLogger("posestream")

#: What a child can be.
_ROLES: dict[str, Callable[[Any, Parent], ExitCode]] = {"lane": run_lane, "replica": run_replica}


def main() -> int:
    """Do what the head says, and give the exit code."""
    # The head decides what a Ctrl-C means; it may have been started where that reaches children too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = Parent(sys.stdin.fileno())
    settings = parent.settings()
    set_up_logging(Console(stderr=True), **settings["log"])
    try:
        return _ROLES[sys.argv[1]](settings["work"], parent)
    except Exception as error:  # noqa: BLE001 - the head is told by the exit code, and starts another process
        _log.debug("%s failed", sys.argv[1], exc_info=error)
        return exit_code_of(error)


if __name__ == "__main__":
    leave(main())
