"""The program on live sources: it ends when it is told to, whatever the cameras do, and it tells no password."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgpack
import pytest
import zmq

from posestream.pipeline.bench.proxy import Proxy
from posestream.pipeline.bench.rtsp_server import RtspServer

from . import media, rtsp
from .e2e import DEADLINE_S, CommandLine, FakeNetwork, messages, program

clip, server = rtsp.clip, rtsp.server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and pipes as Linux has them")

#: Nothing is inferred for real.
SIMULATED = ("--net-height", 64, "--set", 'replicas.devices=["simulated:5"]')
#: A stop takes less than two seconds on a machine that has nothing else to do.
STOP_S = 6.0


@contextlib.contextmanager
def started(folder: Path, *words: object, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """Start the program; whatever happens, it has ended afterwards."""
    process = subprocess.Popen(  # noqa: S603 — our own program
        program("run", *words),
        cwd=folder,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Accept connections and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


@rtsp.needs_server
@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_stop_whatever_the_cameras_do(tmp_path: Path, server: RtspServer, mode: str) -> None:
    """Ctrl-C ends a run at once with 0, though one camera stalls, one never answers and one is not there."""
    with Proxy(server.port) as proxy, silent_server() as silent:
        addresses = [f"rtsp://127.0.0.1:{port}/live" for port in (server.port, proxy.port, silent, 9)]
        words = (*addresses, f"http://127.0.0.1:{silent}/a.mjpg", "--mode", mode, "--save-jsonl", "-", *SIMULATED)
        with started(tmp_path, *words) as process:
            assert process.stdout
            assert process.stderr
            seen: set[str] = set()
            while len(seen) < 2:
                seen.add(json.loads(process.stdout.readline())["source"])
            proxy.is_stalled = True
            process.send_signal(signal.SIGINT)
            told_s = time.monotonic()
            process.communicate(timeout=DEADLINE_S)
            took_s = time.monotonic() - told_s
    assert process.returncode == 0
    assert took_s < STOP_S


def leaks(folder: Path, secret: str, *texts: str) -> list[str]:
    """List where a secret stands: in texts, in files, and in names of files."""
    paths = list(folder.rglob("*"))
    holding = [path for path in paths if path.is_file() and secret.encode() in path.read_bytes()]
    return [
        *(text for text in texts if secret in text),
        *map(str, holding),
        *(str(p) for p in paths if secret in p.name),
    ]


def listen(address: str, heard: list[tuple[bytes, dict[str, object]]], until: threading.Event) -> None:
    """Note status messages until the event is set."""
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.setsockopt(zmq.SUBSCRIBE, b"")
        listener.connect(address)
        while not until.is_set():
            if listener.poll(100):
                topic, packed = listener.recv_multipart()
                heard.append((topic, msgpack.unpackb(packed)))


@rtsp.needs_server
@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_passwords_are_nowhere(tmp_path: Path, clip: Path, mode: str) -> None:
    """A password in an address is in no output, log, status or file name, be it right or wrong, even debugging."""
    secret, status = "s3cr3t-w0rd", f"ipc://{tmp_path}/status"
    ended = threading.Event()
    heard: list[tuple[bytes, dict[str, object]]] = []
    listener = threading.Thread(target=listen, args=(status, heard, ended))
    listener.start()
    with RtspServer(clip, login=f"me:{secret}") as server:
        address = f"127.0.0.1:{server.port}/live?token={secret}"
        words = (
            *(f"rtsp://me:{secret}@{address}", f"rtsp://me:{secret}x@{address}", f"http://me:{secret}@127.0.0.1:9/x"),
            *("--mode", mode, "--debug", "--log-format", "json", "--save-jsonl", "--save-video", *SIMULATED),
            *("--set", f'pipeline.status=["{status}"]', "--save-openpose-json", "json"),
        )
        with started(tmp_path, *words) as process:
            lines = tmp_path / "out" / "127.0.0.1.jsonl"
            deadline_s = time.monotonic() + DEADLINE_S
            while not (
                lines.exists() and lines.read_text().count("\n") > 10 and len({topic for topic, _ in heard}) > 3
            ):
                assert time.monotonic() < deadline_s
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=DEADLINE_S)
    ended.set()
    listener.join()
    assert process.returncode == 0
    assert messages(lines)
    told = [json.loads(line) for line in err.splitlines()]
    states = {(entry.get("source"), entry.get("state")) for entry in told}
    assert {("127.0.0.1", "live"), ("127.0.0.1-2", "backing off"), ("127.0.0.1-3", "backing off")} <= states
    assert any("user or password is wrong" in entry["message"] for entry in told)
    by_topic = {topic: status["state"] for topic, status in heard if "state" in status}
    assert by_topic.keys() == {b"status/127.0.0.1/", b"status/127.0.0.1-2/", b"status/127.0.0.1-3/"}
    assert leaks(tmp_path, secret, out, err, repr(heard)) == []


def test_standard_input(tmp_path: Path) -> None:
    """A video that is piped in is read to its end, every frame of it."""
    path = media.write_video(tmp_path / "clip.ts", media.numbered(20))
    with (
        path.open("rb") as piped,
        started(tmp_path, "-", "--save-jsonl", "-", *SIMULATED, stdin=piped.fileno()) as process,
    ):
        out, _ = process.communicate(timeout=DEADLINE_S)
    told = messages(out)
    assert process.returncode == 0
    assert [(message["source"], message["seq"], message["type"]) for message in told] == [
        ("stdin", seq, "poses") for seq in range(20)
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-", "-"), "standard input (-) is given twice; only one source can read it"),
        (("-", "--mode", "processes"), 'standard input (-) can be read with pipeline.mode = "threads" only'),
    ],
)
def test_standard_input_cannot_be_shared(capfd: pytest.CaptureFixture[str], words: Sequence[str], said: str) -> None:
    """Standard input is one source's, in the process that has it."""
    done = CommandLine(capfd)("run", *words)
    assert (done.code, done.lines) == (2, [f"posestream: error: {said}"])


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """A network that needs no file."""
    return FakeNetwork(monkeypatch)


def test_a_file_at_its_own_speed(capfd: pytest.CaptureFixture[str], tmp_path: Path, network: FakeNetwork) -> None:
    """With --realtime a second of video takes a second, and frames are stamped when they are due."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(10), rate=10)
    done = CommandLine(capfd)("run", path, "--realtime", "--save-jsonl", "-", "--policy", "every-frame")
    told = messages(done.out)
    assert done.code == 0
    assert [message["seq"] for message in told] == list(range(10))
    assert [message["pts"] for message in told] == pytest.approx([number / 10 for number in range(10)])
    due = [message["captured_at"] - told[0]["captured_at"] for message in told]
    assert all(at >= pts - 0.001 for at, pts in zip(due, (message["pts"] for message in told), strict=True))


def test_which_frames_and_which_part(capfd: pytest.CaptureFixture[str], tmp_path: Path, network: FakeNetwork) -> None:
    """Every third frame is taken and counted, turned upright, and people are told in pixels of the whole picture."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(10, 320, 240), rate=10)
    options = ("--step", 3, "--rotate", 90, "--roi", 40, 80, 160, 160, "--net-height", 64)
    done = CommandLine(capfd)("run", path, *options, "--save-jsonl", "-")
    told = messages(done.out)
    assert [(message["seq"], message["pts"]) for message in told] == [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9)]
    assert {(message["width"], message["height"]) for message in told} == {(240, 320)}
    nose = told[0]["people"][0]["keypoints"][0]
    # The fake network sees the nose in the middle of what it is shown, at 15 % of its height.
    assert nose[:2] == pytest.approx([40 + 80, 80 + 24], abs=4)
