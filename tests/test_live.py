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
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from posestream.pipeline.bench.program import Program
from posestream.pipeline.bench.proxy import Proxy
from posestream.pipeline.bench.rtsp_server import RtspServer

from . import media, rtsp
from .e2e import DEADLINE_S, CommandLine, FakeNetwork, messages, program

clip, server = rtsp.clip, rtsp.server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and pipes as Linux has them")

#: Nothing is inferred for real.
SIMULATED = ("--net-height", 64, "--set", 'replicas.devices=["simulated:5"]')
#: A stop takes less than two seconds on a machine that has nothing else to do; a drain that waits would take 20 s.
STOP_S = 12.0


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


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three minutes of video at 25 fps, small pictures."""
    path = tmp_path_factory.mktemp("long") / "clip.mp4"
    return media.write_video(path, media.numbered(50, 64, 64) * 90, rate=25, options={"preset": "ultrafast"})


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_stop_of_a_slow_engine(tmp_path: Path, long_clip: Path, mode: str) -> None:
    """Live frames wait in no replica: each is young when its inference begins, and a stop finishes that one at most."""
    words = (long_clip, "--realtime", "--mode", mode, "--save-jsonl", "-", "--net-height", 64)
    with started(tmp_path, *words, "--set", 'replicas.devices=["simulated:700"]') as process:
        assert process.stdout
        before = []
        while sum(message["type"] == "poses" for message in before) < 4:
            before.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=DEADLINE_S)
    after = messages(rest)
    assert process.returncode == 0
    told = [f"{m['stage']}/{m['reason']}" if m["type"] == "drop" else "poses" for m in [*before, *after]]
    assert set(told) <= {"poses", "decode/newer", "dispatch/newer", "dispatch/expired", "dispatch/stopped"}
    # One may have been done already, and its line been on the way here.
    assert [message["type"] for message in after].count("poses") <= 2


def listen(address: str, heard: list[tuple[bytes, dict[str, Any]]], until: threading.Event) -> None:
    """Note status messages until the event is set."""
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.setsockopt(zmq.SUBSCRIBE, b"")
        listener.connect(address)
        while not until.is_set():
            if listener.poll(100):
                topic, packed = listener.recv_multipart()
                heard.append((topic, msgpack.unpackb(packed)))


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_stop_in_an_inference_that_does_not_end(tmp_path: Path, long_clip: Path, mode: str) -> None:
    """What an engine has of a live source is waited for a little while only, then dropped, and every file is whole."""
    status, ended = f"ipc://{tmp_path}/status", threading.Event()
    heard: list[tuple[bytes, dict[str, Any]]] = []
    listener = threading.Thread(target=listen, args=(status, heard, ended))
    listener.start()
    words = (long_clip, "--realtime", "--mode", mode, "--save-jsonl", "a.jsonl", "--net-height", 64)
    device = ("--set", 'replicas.devices=["simulated:60000"]', "--set", f'pipeline.status=["{status}"]')
    with started(tmp_path, *words, *device) as process:
        deadline_s = time.monotonic() + DEADLINE_S
        while not any(replica["held"] for _, told in heard[-2:] for replica in told.get("replicas", ())):
            assert time.monotonic() < deadline_s
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stopped_s = time.monotonic()
        _, err = process.communicate(timeout=DEADLINE_S)
        took_s = time.monotonic() - stopped_s
    ended.set()
    listener.join()
    assert process.returncode == 0, err
    assert took_s < STOP_S
    told = messages(tmp_path / "a.jsonl")
    assert [message["seq"] for message in told] == list(range(len(told)))
    assert {message["type"] for message in told} == {"drop"}
    assert "dispatch/stopped" in {f"{message['stage']}/{message['reason']}" for message in told}


def leaks(folder: Path, secret: str, *texts: str) -> list[str]:
    """List where a secret stands: in texts, in files, and in names of files."""
    paths = list(folder.rglob("*"))
    holding = [path for path in paths if path.is_file() and secret.encode() in path.read_bytes()]
    return [
        *(text for text in texts if secret in text),
        *map(str, holding),
        *(str(p) for p in paths if secret in p.name),
    ]


@rtsp.needs_server
@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_passwords_are_nowhere(tmp_path: Path, clip: Path, mode: str) -> None:
    """A password in an address is in no output, log, status or file name, be it right or wrong, even debugging."""
    secret, status = "s3cr3t-w0rd", f"ipc://{tmp_path}/status"
    ended = threading.Event()
    heard: list[tuple[bytes, dict[str, Any]]] = []
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
            wanted = {(b"status/127.0.0.1/", "live")}
            wanted |= {(f"status/127.0.0.1-{number}/".encode(), "backing off") for number in (2, 3)}
            while not (
                lines.exists()
                and lines.read_text().count("\n") > 10
                and wanted <= {(topic, status.get("state")) for topic, status in list(heard)}
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


def last_line(out: str) -> dict[str, Any]:
    """Read the JSON object at a bench's end."""
    return dict(json.loads(out.splitlines()[-1]))


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write four seconds of video."""
    return media.write_video(tmp_path_factory.mktemp("bench") / "clip.mp4", media.numbered(50) * 2, rate=25)


@rtsp.needs_server
def test_bench_live(capfd: pytest.CaptureFixture[str], network: FakeNetwork, small_clip: Path) -> None:
    """Streams are measured: all frames come in and out, with their ages, costs and shares."""
    done = CommandLine(capfd)("bench", "live", small_clip, "--streams", 2, "--seconds", 1, "--net-height", 64)
    run = last_line(done.out)["runs"][0]
    assert run["streams"] == 2
    assert 0 < run["age_p50_ms"] <= run["age_p99_ms"]
    assert run["fps_in"] == pytest.approx(run["fps_out"] + sum(run["dropped"].values()), abs=10)
    assert run["cpu_ms_per_frame_out"] >= run["cpu_ms_per_frame_in"] > 0
    assert 0 <= run["unfairness"] < 1


@rtsp.needs_server
def test_bench_soak(capfd: pytest.CaptureFixture[str], network: FakeNetwork, small_clip: Path) -> None:
    """A server that is killed comes back, and it is told how soon; memory is told of runs that are long enough."""
    words = ("bench", "soak", small_clip, "--seconds", 2, "--kills", 1, "--net-height", 64)
    run = last_line(CommandLine(capfd)(*words).out)["runs"][0]
    assert len(run["back_s"]) == 1
    assert run["back_most_s"] == run["back_s"][0] > 0
    assert run["memory_mb_per_min"] is None
    assert run["taken"] >= run["posed"] > 0


def _status(address: str, source: str) -> dict[str, Any]:
    """Give the next status of a source."""
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.setsockopt(zmq.SUBSCRIBE, f"status/{source}/".encode())
        listener.connect(address)
        assert listener.poll(DEADLINE_S * 1000)
        told: dict[str, Any] = msgpack.unpackb(listener.recv_multipart()[1])
        return told


@rtsp.needs_server
def test_a_lane_that_dies_goes_on(tmp_path: Path, server: RtspServer) -> None:
    """The process of a live source that is killed is followed by another: its numbers go on, and no time runs back.

    Each death is one new connection, as the status tells.
    """
    lines, status = tmp_path / "door.jsonl", f"ipc://{tmp_path}/status"
    words = ("run", f"rtsp://127.0.0.1:{server.port}/live", "--mode", "processes", "--save-jsonl", lines, *SIMULATED)

    def wait_for_lines(count: int) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not (lines.exists() and lines.read_text().count("\n") >= count):
            assert time.monotonic() < deadline_s
            assert run.is_running, run.errors
            time.sleep(0.05)

    with Program(tmp_path, *words, "--set", f'pipeline.status=["{status}"]') as run:
        for kill in (1, 2):
            wait_for_lines(30 * kill)
            run.signal_other(run.wait_for_children("lane", DEADLINE_S)[0], signal.SIGKILL)
        wait_for_lines(100)
        assert _status(status, "127.0.0.1")["reconnects"] == 2
        run.signal(signal.SIGTERM)
        assert run.wait(DEADLINE_S) == 0
    told = messages(lines)
    # What the dead one had not written yet is gone, as its numbers tell; the messages' own numbers have no gap.
    assert [message["n"] for message in told] == list(range(len(told)))
    assert all(before["seq"] < after["seq"] for before, after in pairwise(told))
    assert len({message["epoch"] for message in told}) == 3
    for before, after in pairwise(told):
        assert (before["epoch"], before["pts"]) < (after["epoch"], after["pts"])


@rtsp.needs_server
def test_what_a_killed_lane_had_in_flight(tmp_path: Path, server: RtspServer) -> None:
    """Frames in flight of a live source whose process is killed are lost, and sums hold before, meanwhile and after.

    Its replica never ends, so that what it was given is in flight when the next process begins.
    """
    status, ended = f"ipc://{tmp_path}/status", threading.Event()
    heard: list[tuple[bytes, dict[str, Any]]] = []
    listener = threading.Thread(target=listen, args=(status, heard, ended), daemon=True)
    listener.start()
    device = ("--set", 'replicas.devices=["simulated:60000"]', "--set", f'pipeline.status=["{status}"]')
    address = f"rtsp://127.0.0.1:{server.port}/live"

    def statuses() -> list[dict[str, Any]]:
        return [told for topic, told in list(heard) if topic == b"status/127.0.0.1/"]

    def wait_for(restarts: int, *drops: str) -> dict[str, Any]:
        """Wait until something is in flight after so many restarts, and such drops were counted.

        A lane tells that its source is live a moment before it says where that begins, which is when frames are lost.
        """
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            for told in statuses():
                is_there = told["restarts"] == restarts and told["state"] == "live" and told["in_flight"]
                if is_there and all(drop in told["dropped"] for drop in drops):
                    return told
            assert time.monotonic() < deadline_s
            assert run.is_running, run.errors
            time.sleep(0.05)

    with Program(tmp_path, "run", address, "--mode", "processes", "--net-height", 64, *device) as run:
        before = wait_for(0)
        run.signal_other(run.wait_for_children("lane", DEADLINE_S)[0], signal.SIGKILL)
        after = wait_for(1, "dispatch/lost")
        run.signal(signal.SIGTERM)
        assert run.wait(DEADLINE_S) == 0
    ended.set()
    listener.join(DEADLINE_S)
    assert "dispatch/lost" not in before["dropped"]
    assert after["taken"] > before["taken"]
    for told in statuses():
        assert told["taken"] == told["posed"] + sum(told["dropped"].values()) + told["in_flight"]
    assert statuses()[-1]["in_flight"] == 0


def test_a_hardware_decoder_that_is_not_there(capfd: pytest.CaptureFixture[str], network: FakeNetwork) -> None:
    """A decoder that is missing is an error before any work, which says what there is instead."""
    done = CommandLine(capfd)("run", "rtsp://door/live", "--hwaccel", "magic")
    assert done.code == 2
    assert "hwaccel 'magic' is not to be had: this FFmpeg was built without it; here is: " in done.complaints[0]
    assert network.choices == 0


@pytest.mark.parametrize(("mode", "quiet"), [("threads", ["-q"]), ("processes", ["-q"]), ("threads", [])])
def test_offline_is_no_failure(tmp_path: Path, mode: str, quiet: Sequence[str]) -> None:
    """A camera or stream that is not there is told on one line, quiet or not; stopped, the run has done well."""
    expected = {
        "camera-77 is backing off: camera 77 (/dev/video77) cannot be opened: No such file or directory",
        "127.0.0.1 is backing off: rtsp://127.0.0.1:9/door cannot be opened: Connection refused",
    }
    addresses, told = ("77", "rtsp://me:secret@127.0.0.1:9/door"), ""
    with started(tmp_path, *addresses, "--save-jsonl", "--mode", mode, *quiet, *SIMULATED) as process:
        assert process.stderr
        while told.count("is backing off") < len(addresses):
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    backing_off = [line for line in told.splitlines() if "is backing off" in line]
    assert all(any(line.startswith(f"posestream: warning: {why}") for line in backing_off) for why in expected)
    assert "secret" not in told + rest
