"""Sockets that strangers can reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_no_reset_of_a_connection_ends_the_program() -> None:
    """Whoever floods a socket over TCP, pings and resets the connection does not end its process.

    In a process of its own: libzmq ends one that had stopped to read from such a connection.
    """
    program = (sys.executable, "-m", "tests.pipeline.wire.resetters")
    root = Path(__file__).parents[3]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
