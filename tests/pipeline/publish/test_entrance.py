"""Sockets of the head itself that strangers reach: what a flood costs it, and who else is heard meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from posestream.pipeline.control.desk import ControlDesk
from posestream.pipeline.publish.doorman import Doorman
from posestream.pipeline.publish.entrance import Entrance, NoEntrance, open_entrance
from posestream.pipeline.publish.guest import Allowance, host_of
from posestream.pipeline.security.guard import OPEN
from posestream.pipeline.status import StatusPublisher
from posestream.pipeline.wire.sockets import Sockets, ZmqContext

from .stand import DEADLINE_S
from .test_porch import memory

_ROOT = Path(__file__).parents[3]
#: What the head may need more while somebody floods it, in bytes; without a bound 3 s of it cost hundreds of millions.
_FLAT_BYTES = 48 << 20
_EVERYWHERE = ["tcp://127.0.0.1:*"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        pytest.param(lambda: StatusPublisher(_EVERYWHERE), "subscriptions", id="status"),
        pytest.param(lambda: ControlDesk(_EVERYWHERE), "requests", id="control"),
    ],
)
def test_a_flood_fills_no_memory(make: Callable[[], StatusPublisher | ControlDesk], what: str) -> None:
    """Distinct subscriptions and messages without an end are cut off at status and control too, keys or none."""
    head, before = make(), memory("self")
    words = [sys.executable, "-m", "tests.pipeline.publish.flood", head.addresses[-1], what, "3"]
    with subprocess.Popen(words, cwd=_ROOT) as stranger:  # noqa: S603 — our own program
        assert stranger.wait(DEADLINE_S) == 0
    try:
        assert head._entrance.cut > 0
        assert memory("self") - before < _FLAT_BYTES
    finally:
        head.close()


def test_where_only_this_host_comes_nobody_stands_at_the_door(context: ZmqContext) -> None:
    """Without an address of TCP there is neither thread nor gate."""
    assert isinstance(open_entrance(context, ["ipc:///run/me/x"], OPEN, None), NoEntrance)


def test_processes_of_this_host_are_no_strangers(context: ZmqContext, tmp_path: Path) -> None:
    """One socket for both: what comes over ipc is never cut off, whatever it sends."""
    entrance = Entrance(context, OPEN, None)
    with Sockets(context) as sockets:
        socket = sockets.open(zmq.ROUTER)
        entrance.watch(socket, Allowance(100, 1))
        address = sockets.bind(socket, f"ipc://{tmp_path}/head")
        sockets.bind(socket, "tcp://127.0.0.1:*")
        speaker = sockets.open(zmq.DEALER, connect=address)
        for _ in range(10):
            speaker.send(bytes(1000))
            assert socket.poll(int(DEADLINE_S * 1000))
            assert socket.recv_multipart()[1] == bytes(1000)
        assert entrance.cut == 0
    entrance.close()


def test_the_most_crowded_host_goes_first(context: ZmqContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many costs a connection of the host that has most, not whoever came last."""
    monkeypatch.setattr("posestream.pipeline.publish.doorman._MOST_CONNECTIONS", 3)
    doorman = Doorman(context, has_keys=False)
    with Sockets(context) as sockets:
        socket = sockets.open(zmq.ROUTER)
        doorman.watch(socket, Allowance(1000, 1))
        port = sockets.bind(socket, "tcp://0.0.0.0:*").rpartition(":")[2]
        # A client's own address, before its destination: 127.0.0.2 is another host to the head.
        for host in ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.2"):
            sockets.open(zmq.DEALER, connect=f"tcp://{host}:0;127.0.0.1:{port}").send(b"hello")
            time.sleep(0.1)
        deadline_s = time.monotonic() + DEADLINE_S
        while not doorman.cut and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert not doorman.is_welcome("127.0.0.1")
        assert doorman.is_welcome("127.0.0.2")
    doorman.close()


@pytest.mark.parametrize(
    ("address", "other", "expected"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("", "10.0.0.1", False),
    ],
)
def test_addresses_of_one_host_are_known(address: str, other: str, *, expected: bool) -> None:
    """Whoever has an IPv6 address has billions: the part that a provider gives away is the host."""
    assert (host_of(address) == host_of(other)) is expected
