"""Live sources in whole runs: a real RTSP server, a wire that can be cut, and engines that need no network."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from posestream.models.engines.simulated import Service, SimulatedEngine
from posestream.pipeline.bench.proxy import Proxy
from posestream.pipeline.bench.rtsp_server import RtspServer
from posestream.pipeline.commands.console import ProgressView, show_summary
from posestream.pipeline.status import source_status
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended, Sink
from posestream.stages.source.opening import SourceInfo

from .. import rtsp  # noqa: TID252 — tests have no name of their own to import them by
from .conftest import Runs, Workshop, wait_until

clip, server = rtsp.clip, rtsp.server

pytestmark = rtsp.needs_server

#: Reconnects soon, so that tests need not wait.
RECONNECT = {"min_s": 0.1, "max_s": 1.0, "stall_s": 1.0, "connect_s": 5.0}


class Notes:
    """An output that notes the messages of all sources."""

    paths: tuple[Path, ...] = ()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []

    def sink(self, source: str) -> Sink:
        """Give the end that a lane writes to."""
        return _NoteSink(source, self)

    def add(self, message: dict[str, Any]) -> None:
        """Note one."""
        with self._lock:
            self._messages.append(message)

    def of(self, source: str) -> list[dict[str, Any]]:
        """Give a source's messages so far."""
        with self._lock:
            return [message for message in self._messages if message["source"] == source]

    def posed(self, source: str, epoch: int = 0) -> int:
        """Count a source's frames with poses in an epoch."""
        return sum(message["type"] == "poses" and message["epoch"] == epoch for message in self.of(source))


class _NoteSink:
    paths: tuple[Path, ...] = ()

    def __init__(self, source: str, notes: Notes) -> None:
        self.name = f"notes of {source}"
        self._notes = notes

    def resume(self, source: str, since_s: float) -> Held | None:
        return None

    def open(self, info: SourceInfo) -> None:
        pass

    def write(self, ended: Ended) -> None:
        self._notes.add(ended.message)

    def close(self) -> None:
        pass


@pytest.fixture
def notes() -> Notes:
    """Notes of all messages of a run."""
    return Notes()


@pytest.fixture
def follow(runs: Runs, notes: Notes) -> Iterator[Callable[..., Supervisor]]:
    """Start runs over addresses that are called a, b, c and so on; a test that fails leaves none of them behind."""
    started: list[Supervisor] = []

    def start(*ports: int, **tables: Any) -> Supervisor:
        names = "abcdefgh"[: len(ports)]
        table = {"reconnect": RECONNECT, **tables.pop("source", {})}
        sources = [
            {"url": f"rtsp://127.0.0.1:{port}/live", "name": name, **table}
            for name, port in zip(names, ports, strict=True)
        ]
        started.append(runs.start({"source": sources, **tables}, [notes.sink]))
        return started[-1]

    yield start
    for supervisor in started:
        if supervisor.is_running:
            supervisor.close()


def state(supervisor: Supervisor, name: str = "a") -> dict[str, Any]:
    """Give a source's status message."""
    return source_status(supervisor, next(lane for lane in supervisor.lanes if lane.name == name))


def check_whole(messages: Sequence[dict[str, Any]]) -> None:
    """Every frame has one message, in order, and no time runs backwards within an epoch."""
    assert [message["seq"] for message in messages] == list(range(len(messages)))
    assert [message["n"] for message in messages] == list(range(len(messages)))
    for before, after in pairwise(messages):
        assert (before["epoch"], before["pts"]) < (after["epoch"], after["pts"])


def test_a_server_that_comes_back(
    runs: Runs, follow: Callable[..., Supervisor], notes: Notes, server: RtspServer
) -> None:
    """Each time the server is killed and returns, the source is live again in the next epoch, and nothing is missing.

    `bench soak` does this for longer, and tells how long it took and what it cost in memory.
    """
    supervisor = follow(server.port)
    for epoch in range(3):
        wait_until(supervisor, lambda epoch=epoch: notes.posed("a", epoch) >= 3)
        server.kill()
        wait_until(supervisor, lambda: state(supervisor)["state"] == "backing off")
        assert state(supervisor)["why"]
        server.start()
    wait_until(supervisor, lambda: notes.posed("a", 3) >= 3)
    told = state(supervisor)
    assert (told["state"], told["reconnects"], told["restarts"]) == ("live", 3, 0)
    supervisor.stop()
    summary = runs.finish(supervisor)
    assert summary.exit_code == 0
    check_whole(notes.of("a"))


def test_a_stall(runs: Runs, follow: Callable[..., Supervisor], notes: Notes, server: RtspServer) -> None:
    """A connection that falls silent is told as stalled, then given up, and the source comes back by itself."""
    with Proxy(server.port) as proxy:
        supervisor = follow(proxy.port)
        wait_until(supervisor, lambda: notes.posed("a") >= 3)
        proxy.is_stalled = True
        wait_until(supervisor, lambda: state(supervisor)["state"] == "stalled")
        wait_until(supervisor, lambda: state(supervisor)["state"] == "backing off")
        assert state(supervisor)["why"] == "nothing came for 1 s"
        proxy.is_stalled = False
        wait_until(supervisor, lambda: notes.posed("a", 1) >= 3)
        supervisor.stop()
        runs.finish(supervisor)
    check_whole(notes.of("a"))


def test_one_dead_camera_disturbs_nobody(
    runs: Runs, follow: Callable[..., Supervisor], notes: Notes, server: RtspServer
) -> None:
    """Of three cameras one is dead from the start: the others run, and the dead one says why it does not."""
    with Proxy(server.port) as dead:
        dead.is_refusing = True
        supervisor = follow(server.port, dead.port, server.port)
        wait_until(supervisor, lambda: min(notes.posed("a"), notes.posed("c")) >= 10)
        wait_until(supervisor, lambda: state(supervisor, "b")["state"] == "backing off")
        assert f"rtsp://127.0.0.1:{dead.port}/live cannot be opened" in state(supervisor, "b")["why"]
        assert state(supervisor, "b")["taken"] == 0
        shown = io.StringIO()
        with ProgressView(Console(file=shown, force_terminal=True, width=200), supervisor, is_quiet=False):
            pass
        assert f"b (backing off: rtsp://127.0.0.1:{dead.port}/live cannot be opened" in shown.getvalue()
        supervisor.stop()
        summary = runs.finish(supervisor)
    assert summary.exit_code == 0
    shown = io.StringIO()
    show_summary(Console(file=shown, width=200), summary)
    assert f"b: backing off (rtsp://127.0.0.1:{dead.port}/live cannot be opened" in shown.getvalue()
    assert "a: live" not in shown.getvalue()
    for name in "ac":
        check_whole(notes.of(name))


def test_another_resolution(
    runs: Runs, follow: Callable[..., Supervisor], notes: Notes, server: RtspServer, tmp_path: Path
) -> None:
    """A camera that comes back with another resolution goes on, and its recording keeps the first picture's size."""
    video = tmp_path / "a.mp4"
    supervisor = follow(server.port, output={"video": {"path": str(video)}})
    wait_until(supervisor, lambda: notes.posed("a") >= 3)
    server.kill()
    server.start(rtsp.write_clip(tmp_path / "wide.units", 320, 120))
    wait_until(supervisor, lambda: notes.posed("a", 1) >= 3)
    supervisor.stop()
    assert runs.finish(supervisor).exit_code == 0
    posed = [message for message in notes.of("a") if message["type"] == "poses"]
    assert {(m["epoch"], m["width"], m["height"]) for m in posed} == {(0, 160, 120), (1, 320, 120)}
    check_whole(notes.of("a"))
    assert {picture.shape for picture in rtsp.pictures(video)} == {(120, 160, 3)}


def test_another_codec(
    runs: Runs, follow: Callable[..., Supervisor], notes: Notes, server: RtspServer, tmp_path: Path, clip: Path
) -> None:
    """A camera that comes back with Motion JPEG instead of H.264, and the other way round, goes on each time."""
    supervisor = follow(server.port)
    jpegs = rtsp.write_clip(tmp_path / "clip.jpegs")
    for epoch, units in enumerate([clip, jpegs, clip]):
        if epoch:
            server.kill()
            server.start(units)
        wait_until(supervisor, lambda epoch=epoch: notes.posed("a", epoch) >= 3)
    supervisor.stop()
    assert runs.finish(supervisor).exit_code == 0
    check_whole(notes.of("a"))
    assert not any(message.get("reason") == "undecodable" for message in notes.of("a"))


def test_three_times_too_much(
    runs: Runs, follow: Callable[..., Supervisor], notes: Notes, server: RtspServer, workshop: Workshop
) -> None:
    """Where inference takes three times as long as frames last, frames stay young and in order, and drops add up."""
    infer_s, max_age_s = 3 / rtsp.RATE, 0.5
    workshop.make = lambda spec: SimulatedEngine(spec, "cpu", Service(infer_s))
    supervisor = follow(server.port)
    deadline_s = time.monotonic() + 60
    while notes.posed("a") < 20:
        assert time.monotonic() < deadline_s
        supervisor.wait(0.02)
        counts = supervisor.counts("a")
        assert counts.taken == counts.posed + counts.dropped.total() + counts.in_flight
    supervisor.stop()
    counts = runs.finish(supervisor).sources[0].counts
    messages = notes.of("a")
    check_whole(messages)
    drops = [f"{m['stage']}/{m['reason']}" for m in messages if m["type"] == "drop"]
    assert counts.taken == len(messages) == counts.posed + len(drops)
    assert dict(counts.dropped) == {name: drops.count(name) for name in set(drops)}
    assert set(drops) <= {"decode/newer", "dispatch/newer", "dispatch/expired", "infer/late", "dispatch/stopped"}
    assert drops.count("decode/newer") > counts.posed
    ages_s = [m["published_at"] - m["captured_at"] for m in messages if m["type"] == "poses"]
    # A result is late when it is older than the limit plus its inference; what writes it may itself be kept waiting.
    assert sorted(ages_s)[len(ages_s) // 2] < max_age_s + infer_s


def test_pause_and_resume(runs: Runs, follow: Callable[..., Supervisor], notes: Notes, server: RtspServer) -> None:
    """A paused lane has no connection and says so; resumed it goes on in the next epoch."""
    supervisor = follow(server.port)
    wait_until(supervisor, lambda: notes.posed("a") >= 3)
    lane: Any = supervisor.lanes[0]
    lane.pause()
    wait_until(supervisor, lambda: state(supervisor)["state"] == "paused")
    lane.resume()
    wait_until(supervisor, lambda: notes.posed("a", 1) >= 3)
    supervisor.stop()
    runs.finish(supervisor)
    check_whole(notes.of("a"))
