"""Sockets that strangers can reach."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from posestream.pipeline.wire.sockets import Sockets, ZmqContext
from posestream.stages.errors import SettingsError


@pytest.fixture
def context() -> Iterator[ZmqContext]:
    """A context that ends with the test."""
    made: ZmqContext = zmq.Context()
    yield made
    made.term()


def test_ipc_files_go_with_their_sockets(tmp_path: Path, context: ZmqContext) -> None:
    """No file of a socket is left after its end, and none goes that another one listens at by then."""
    with Sockets(context) as sockets:
        for name in ("mine", "others"):
            sockets.open(zmq.ROUTER, bind=f"ipc://{tmp_path}/{name}")
        assert {path.name for path in tmp_path.iterdir()} == {"mine", "others"}
        with pytest.raises(SettingsError, match="already in use"), Sockets(context) as late:
            late.open(zmq.ROUTER, bind=f"ipc://{tmp_path}/mine")
        assert (tmp_path / "mine").is_socket()
        (tmp_path / "others").rename(tmp_path / "moved")
        (tmp_path / "others").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"others", "moved"}


def test_no_reset_of_a_connection_ends_the_program() -> None:
    """Whoever floods a socket over TCP, pings and resets the connection does not end its process.

    In a process of its own: libzmq ends one that had stopped to read from such a connection.
    """
    program = (sys.executable, "-m", "tests.pipeline.wire.resetters")
    root = Path(__file__).parents[3]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
