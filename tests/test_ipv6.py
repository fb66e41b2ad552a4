"""A head and all who speak to it over IPv6, by the command line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest
import zmq

from posestream.pipeline.client.subscription import Messages
from posestream.pipeline.control.client import list_sources
from posestream.pipeline.security.guard import UNGUARDED

from .e2e import DEADLINE_S, CommandLine, messages, program

_FRAMES = 40


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="sockets as Linux has them"),
    pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6"),
]


def free_port() -> int:
    """Give a port that is free."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return int(probe.getsockname()[1])


def hear_status(address: str) -> dict[str, object]:
    """Give the next status of the whole."""
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.linger, listener.rcvtimeo = 0, int(DEADLINE_S * 1000)
        UNGUARDED.apply(listener, address)
        listener.setsockopt(zmq.SUBSCRIBE, b"status/")
        listener.connect(address)
        while True:
            topic, told = listener.recv_multipart()
            if topic == b"status/":
                found: dict[str, object] = msgpack.unpackb(told)
                return found


def test_all_of_a_head_is_reached_over_ipv6(tmp_path: Path) -> None:
    """Workers, subscribers with replay, control and status: this machine's own address needs no keys and no word."""
    listen, publish, replay, control, status = (f"tcp://[::1]:{free_port()}" for _ in range(5))
    lines = tmp_path / "out.jsonl"
    head = program(
        *("run", f"synthetic:64x64x{_FRAMES}", "--net-height", 64, "--device", "simulated:2", "--save-jsonl", lines),
        *("--listen", listen, "--publish", publish, "--control", control, "--quiet"),
        *("--set", 'replicas.devices=["none"]', "--set", f'pipeline.status=["{status}"]'),
        *("--set", f'publish.replay=["{replay}"]'),
    )
    worker = program("worker", "--connect", listen, "--device", "simulated:2", "--quiet")
    with subprocess.Popen(head, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603 — our own program
        try:
            assert hear_status(status)["malformed"] == 0
            (source,) = list_sources(control)
            assert source.name.startswith("synthetic")
            with Messages(publish, replay=True, idle_s=DEADLINE_S) as heard:
                assert heard.wait_for_layout(DEADLINE_S)
                with subprocess.Popen(worker) as working:  # noqa: S603 — our own program
                    numbers = [next(heard)["n"] for _ in range(_FRAMES)]
                    # A run of which sources can be changed waits for more of them.
                    running.send_signal(signal.SIGINT)
                    assert (running.wait(DEADLINE_S), working.wait(DEADLINE_S)) == (0, 0)
        finally:
            running.kill()
        assert running.stderr is not None
        assert running.stderr.read() == ""
    assert [message["n"] for message in messages(lines)] == list(range(_FRAMES))
    assert numbers == list(range(_FRAMES))


def test_every_ipv6_address_needs_keys_or_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """`[::]` is what other hosts reach, as `*` is."""
    done = CommandLine(capsys)("run", "synthetic:64x64x1", "--device", "simulated:1", "--publish", "tcp://[::]:5556")
    assert done.code == 2
    assert "tcp://[::]:5556 can be reached from other hosts" in done.err
