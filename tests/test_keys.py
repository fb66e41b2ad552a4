"""Workers with keys, by the command line: the right one does the job, the wrong one ends and is counted."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import msgpack
import pytest
import zmq

from posestream.pipeline.security.keys import write_new_pair

from .e2e import DEADLINE_S, messages, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets as Linux has them")

_FRAMES = 40


def wait_for_refused(address: str, least: int) -> None:
    """Wait until a head tells in its status that so many connections, or more, were turned away."""
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.linger, listener.rcvtimeo = 0, int(DEADLINE_S * 1000)
        listener.setsockopt(zmq.SUBSCRIBE, b"status/")
        listener.connect(address)
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            topic, told = listener.recv_multipart()
            if topic == b"status/" and int(msgpack.unpackb(told)["refused"]) >= least:
                return
    raise AssertionError("too few were counted")


def test_a_worker_with_the_right_key_does_the_job(runtime: Path, tmp_path: Path) -> None:
    """One whose key is not on the list ends with exit code 4 and one line, and is counted; the other one finishes."""
    head_public, head_secret = write_new_pair("head", tmp_path / "head")
    friend_public, friend = write_new_pair("friend", tmp_path / "friend")
    _, stranger = write_new_pair("stranger", tmp_path / "stranger")
    clients = tmp_path / "clients"
    clients.mkdir()
    friend_public.rename(clients / "friend.key")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    status, lines = f"ipc://{runtime}/status", tmp_path / "out.jsonl"
    command = program(
        *("run", f"synthetic:64x64x{_FRAMES}", "--net-height", 64, "--device", "simulated:2", "--save-jsonl", lines),
        *("--listen", address, "--key", head_secret, "--clients", clients, "--quiet"),
        *("--set", 'replicas.devices=["none"]', "--set", f'pipeline.status=["{status}"]'),
    )
    worker = ["worker", "--connect", address, "--device", "simulated:2", "--server-key", head_public, "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as head:  # noqa: S603 — our own program
        try:
            wait_for_refused(status, 0)  # it listens: the stranger's patience is no matter of how long this one loads
            refused = subprocess.run(  # noqa: S603 — our own program
                program(*worker, "--key", stranger, "--patience", 5),
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            assert (refused.returncode, len(refused.stderr.splitlines())) == (4, 1), refused.stderr
            assert "does it allow this key?" in refused.stderr
            wait_for_refused(status, 1)
            assert head.poll() is None
            done = subprocess.run(  # noqa: S603 — our own program
                program(*worker, "--key", friend), capture_output=True, text=True, timeout=DEADLINE_S, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert head.wait(DEADLINE_S) == 0
        finally:
            head.kill()
    assert [message["n"] for message in messages(lines)] == list(range(_FRAMES))
