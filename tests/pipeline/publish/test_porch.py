"""The porch: what strangers may do to it, and what comes of it when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from posestream.pipeline.client.order import Gap
from posestream.pipeline.client.subscription import Messages
from posestream.pipeline.publish import porch as porch_program
from posestream.pipeline.supervision import porch as porch_keeper
from posestream.pipeline.supervision.porch import Porch
from posestream.pipeline.supervision.process import ChildProcess, LogOptions
from posestream.pipeline.supervision.restarts import Restarts
from posestream.stages.errors import OutputError

from .stand import DEADLINE_S, Stand

_ROOT = Path(__file__).parents[3]
#: What a head may need more while somebody floods its porch, and what the porch may have, in bytes.
_FLAT_BYTES, _PORCH_BYTES = 32 << 20, 200 << 20

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")


@pytest.fixture
def stand() -> Iterator[Stand]:
    """A publisher that strangers reach through a porch."""
    made = Stand("tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*", has_porch=True)
    yield made
    made.close()


class Listener:
    """A subscriber that asks for what it missed, and what it heard."""

    def __init__(self, stand: Stand) -> None:
        self.numbers: list[int] = []
        self.gaps: list[Gap] = []
        self._stand = stand
        self._messages = Messages(stand.address, ["door"], replay=True, on_gap=self.gaps.append, idle_s=DEADLINE_S)
        self._published = 0
        while self._messages.layout is None:
            self._messages.wait(0.1)

    def publish_for(self, seconds: float) -> None:
        """Publish a hundred messages a second, and hear what comes meanwhile, as a run does that watches its porch."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._stand.publish(self._published)
            self._published += 1
            self._hear(0.01)

    def publish_until(self, is_so: Callable[[], bool]) -> None:
        """Publish and hear until something is so."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline_s
            self.publish_for(0.1)

    def hear_all(self) -> list[int]:
        """Hear until everything that was published is here, or time is up, and close."""
        deadline_s = time.monotonic() + DEADLINE_S
        while len(self.numbers) < self._published and time.monotonic() < deadline_s:
            self._stand.tell()
            self._hear(0.1)
        self._messages.close()
        return self.numbers

    @property
    def published(self) -> list[int]:
        """What there is to be heard."""
        return list(range(self._published))

    def _hear(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._stand.porch.watch(time.monotonic())
            self._messages.wait(left_s)
            while self._messages.has_ready:
                self.numbers.append(next(self._messages)["n"])


def memory(pid: int | str) -> int:
    """Give what a process has in memory, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_who_wants_hundreds_of_sources_is_heard(stand: Stand) -> None:
    """However many sources are named, our own subscriber sends no more than the porch takes, and has what it wants."""
    names = [f"camera-{number:03d}" for number in range(400)]
    for name in ("other", "camera-000", "camera-399"):
        stand.publish(0, source=name)
    messages = Messages(stand.address, names, replay=True, idle_s=DEADLINE_S)
    first = [next(messages) for _ in range(2)]
    for n in (1, 2):
        for name in ("other", "camera-000", "camera-399"):
            stand.publish(n, source=name)
    rest = [next(messages) for _ in range(4)]
    messages.close()
    heard = sorted((message["source"], message["n"]) for message in (*first, *rest))
    assert heard == [(name, n) for name in ("camera-000", "camera-399") for n in range(3)]
    assert stand.porch.status["porch"]["cut"] == 0


def restarts(stand: Stand) -> int:
    """Give how often the porch was started again."""
    return int(stand.porch.status["porch"]["restarts"])


@pytest.mark.parametrize("what", ["subscriptions", "parts", "requests"])
def test_who_floods_is_cut_off_and_costs_nobody_anything(stand: Stand, what: str) -> None:
    """Neither distinct subscriptions nor messages without an end fill the head's memory or hold others up.

    ZeroMQ keeps both without a bound: without the porch, 3 s of either cost the head gigabytes.
    """
    address = stand.porch.link.replay_addresses[0] if what == "requests" else stand.address
    listener, before = Listener(stand), memory("self")
    words = [sys.executable, "-m", "tests.pipeline.publish.flood", address, what, "3"]
    with subprocess.Popen(words, cwd=_ROOT) as stranger:  # noqa: S603 — our own program
        listener.publish_for(4.0)
        assert stranger.wait(DEADLINE_S) == 0
    assert memory("self") - before < _FLAT_BYTES
    assert stand.porch.pid is not None
    assert memory(stand.porch.pid) < _PORCH_BYTES
    # Where the machine is too busy for the doorman, the bound on memory is what ends it.
    stand.wait_until(lambda: stand.porch.status["porch"]["cut"] + restarts(stand) > 0)
    assert listener.hear_all() == listener.published
    assert listener.gaps == []


def test_a_crowd_may_have_no_more_than_the_porch_can_bear(stand: Stand) -> None:
    """Hundreds of connections that each send just so much as one may are cut off together, and it lives.

    Without a bound over all of them they fill the memory that the porch may have, again and again.
    """
    pid, listener = stand.porch.pid, Listener(stand)
    words = [sys.executable, "-m", "tests.pipeline.publish.flood", stand.porch.link.replay_addresses[0], "crowd", "6"]
    with subprocess.Popen(words, cwd=_ROOT) as strangers:  # noqa: S603 — our own program
        listener.publish_for(7.0)
        assert strangers.wait(DEADLINE_S) == 0
    stand.wait_until(lambda: stand.porch.status["porch"]["cut"] > 0)
    assert (stand.porch.pid, restarts(stand)) == (pid, 0)
    assert pid is not None
    assert memory(pid) < _PORCH_BYTES
    assert listener.hear_all() == listener.published
    assert listener.gaps == []


def test_one_who_asks_for_long_is_not_cut_off(stand: Stand) -> None:
    """Requests that were read count no more, however many one connection sends in time."""
    listener = Listener(stand)
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.linger, asking.rcvtimeo = 0, int(DEADLINE_S * 1000)
        asking.connect(stand.porch.link.replay_addresses[0])
        listener.publish_for(0.1)
        for number in range(1000):  # 200 KB
            asking.send(msgpack.packb({"v": 1, "type": "list", "id": number, "note": "x" * 200}))
            assert asking.recv_multipart()
            listener.publish_for(0.005)
    assert stand.porch.status["porch"]["cut"] == 0
    assert listener.hear_all() == listener.published


def test_a_killed_porch_comes_back_and_nothing_is_missing(stand: Stand) -> None:
    """After SIGKILL another one listens at the same ports; a subscriber has no gap and no double."""
    listener = Listener(stand)
    for number in range(2):
        listener.publish_for(0.3)
        assert stand.porch.pid is not None
        os.kill(stand.porch.pid, signal.SIGKILL)
        listener.publish_until(lambda number=number: restarts(stand) > number)  # type: ignore[misc]
        listener.publish_for(0.5)
        assert restarts(stand) == number + 1
    assert listener.hear_all() == listener.published
    assert listener.gaps == []


def test_a_porch_that_hangs_is_followed_by_another(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was stopped says nothing any more: it is killed, and the head never waited for it."""
    monkeypatch.setattr(porch_keeper, "_SILENT_S", 2.5)
    listener = Listener(stand)
    assert stand.porch.pid is not None
    os.kill(stand.porch.pid, signal.SIGSTOP)
    before = memory("self")
    listener.publish_until(lambda: restarts(stand) > 0)
    assert restarts(stand) == 1
    assert memory("self") - before < _FLAT_BYTES
    assert listener.hear_all() == listener.published
    assert listener.gaps == []


def test_a_porch_that_dies_too_often_is_given_up(stand: Stand) -> None:
    """Beyond its budget it is an output that failed, told once; the publisher itself goes on."""
    for _ in range(6):
        pid = stand.porch.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        stand.wait_until(lambda pid=pid: stand.porch.pid != pid or bool(stand.porch.errors))  # type: ignore[misc]
    assert [str(error).partition(":")[0] for error in stand.porch.errors] == ["publishing over TCP failed too often"]
    assert stand.porch.status["porch"]["state"] == "failed"
    stand.publish(0)
    stand.wait_for(1)


def test_what_was_published_last_is_still_heard() -> None:
    """The end comes after the last message and the last status, and leaves no process."""
    stand = Stand("tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*", has_porch=True)
    pid = stand.porch.pid
    with Messages(stand.address, ["door"], idle_s=DEADLINE_S) as messages:
        while messages.layout is None:
            messages.wait(0.1)
        for n in range(500):
            stand.publish(n)
        stand.close()
        assert [next(messages)["n"] for _ in range(500)] == list(range(500))
    assert not Path(f"/proc/{pid}").exists()


def test_a_porch_that_dies_near_the_end_is_waited_for() -> None:
    """What was published while nobody listened at the ports is fetched from its successor before the run ends."""
    stand = Stand("tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*", has_porch=True)
    with Messages(stand.address, ["door"], replay=True, idle_s=DEADLINE_S) as messages:
        stand.publish(0)
        stand.tell()
        assert next(messages)["n"] == 0
        assert stand.porch.pid is not None
        os.kill(stand.porch.pid, signal.SIGKILL)
        stand.wait_until(lambda: restarts(stand) == 1)
        for n in range(1, 100):
            stand.publish(n)
        closing = threading.Thread(target=stand.close)
        closing.start()
        heard = [next(messages)["n"] for _ in range(1, 100)]
        closing.join()
    assert heard == list(range(1, 100))


def test_a_porch_that_is_killed_while_it_starts_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it listens as afterwards: another one is started, and the run begins."""
    begun = []

    class Mortal(ChildProcess):
        def start(self) -> None:
            super().start()
            begun.append(self.pid)
            if len(begun) == 1:
                self.kill()

    monkeypatch.setattr(porch_keeper, "ChildProcess", Mortal)
    stand = Stand("tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*", has_porch=True)
    try:
        assert len(begun) == 2
        assert restarts(stand) == 1
    finally:
        stand.close()


def test_a_porch_that_never_starts_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each one dies before it listens, the output has failed."""

    class Mortal(ChildProcess):
        def start(self) -> None:
            super().start()
            self.kill()

    monkeypatch.setattr(porch_keeper, "ChildProcess", Mortal)
    porch = Porch(("tcp://127.0.0.1:*",), (), 10, None, None, LogOptions(), Restarts(budget=1))
    with pytest.raises(OutputError, match=r"^cannot publish over TCP: its process does not start"):
        porch.start()
    porch.close()


def test_a_porch_ends_with_its_head() -> None:
    """When the head is killed, its porch is gone within seconds."""
    words = [sys.executable, "-m", "tests.pipeline.publish.abandoned"]
    with subprocess.Popen(words, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as head:  # noqa: S603 — our own program
        assert head.stdout is not None
        pid = int(head.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        head.kill()
    deadline_s = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_porch_has_so_much_memory_and_no_more() -> None:
    """What nobody foresaw ends with it: the system refuses memory beyond its bound."""
    code = "from posestream.pipeline.publish import porch; porch._limit(1000); bytearray(1 << 30)"
    done = subprocess.run(  # noqa: S603 — our own program
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 1
    assert "MemoryError" in done.stderr
    assert porch_program._MOST_BYTES < 512 << 20
