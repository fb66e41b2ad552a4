"""Sources that come and go while a run goes on, in threads and in processes, by the command line and real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack
import pytest
import zmq

from posestream.pipeline.bench.churn import trend
from posestream.pipeline.control.client import ask, list_sources
from posestream.pipeline.control.roster import Answer, Question
from posestream.pipeline.supervision.run_folder import control_addresses
from posestream.pipeline.wire.control import (
    AddSource,
    Agreed,
    PauseSource,
    Refused,
    RemoveSource,
    ResumeSource,
    SourceEntry,
)
from posestream.pipeline.wire.sockets import Sockets, send, wait_for

from .e2e import DEADLINE_S, CommandLine, messages, program
from .rtsp import RATE, RtspServer, needs_server, write_clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets and signals as Linux has them")

#: A device that needs no network's file, and leaves the machine time for others beside a source without an end.
_DEVICE = ("--net-height", 64, "--set", 'replicas.devices=["simulated:10"]', "--set", "replicas.window=4")
modes = pytest.mark.parametrize("mode", ["threads", "processes"])


class Head:
    """A run in a process of its own, and what it is asked."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def list(self) -> dict[str, SourceEntry]:
        """Give what is told of each source."""
        return {entry.name: entry for entry in list_sources(self.address)}

    def add(self, url: str, **table: object) -> str:
        """Add a source and give what was answered."""
        answer = ask(self.address, AddSource(json.dumps({"url": url, **table})))
        assert isinstance(answer, Agreed), answer
        return answer.text

    def ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Ask many questions and give the answers: a head looks ten times a second, and then takes all there are."""
        answers: list[Answer] = []
        with zmq.Context() as context, Sockets(context) as sockets:
            socket = sockets.open(zmq.DEALER, connect=self.address, identity="control-of-many", patience_ms=10_000)
            for question in questions:
                send(socket, question)
            for question in questions:
                envelope = wait_for(socket)
                assert envelope is not None, question
                answers.append(envelope.message)
        return answers

    def add_all(self, names: Sequence[str]) -> None:
        """Add sources of one frame each, in this order."""
        adds = [AddSource(json.dumps({"url": "synthetic:8x8x1", "name": name})) for name in names]
        assert {type(answer) for answer in self.ask_all(adds)} == {Agreed}

    def wait_until(self, is_so: Callable[[dict[str, SourceEntry]], object]) -> dict[str, SourceEntry]:
        """Ask until something is so, and give what was told then."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_so(listing := self.list()):
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < deadline_s, listing
        return listing

    def end(self) -> tuple[int, str, str]:
        """Stop it as a Ctrl-C does; give its exit code and what it said."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> tuple[int, str, str]:
        """Wait for its end; give its exit code and what it said."""
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err


@contextmanager
def head_of(folder: Path, *words: object) -> Iterator[Head]:
    """Start a run and wait until it can be asked; whatever happens, it has ended afterwards."""
    with subprocess.Popen(  # noqa: S603 — our own program
        program("run", *words, *_DEVICE), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline_s = time.monotonic() + DEADLINE_S
            while not (addresses := control_addresses()):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            yield Head(process, addresses[0])
        finally:
            process.kill()


@modes
def test_sources_come_and_go(runtime: Path, tmp_path: Path, mode: str) -> None:
    """Without any source a run waits; each that comes does its work alone, and what a removed one had is kept."""
    words = ("--control", "--save-jsonl", "out/{source}.jsonl", "--mode", mode)
    with head_of(tmp_path, *words) as head:
        assert head.list() == {}
        assert head.add("synthetic:64x64", name="steady") == "steady is added: synthetic:64x64"
        head.add("synthetic:32x32x40", name="short")
        head.wait_until(lambda now: now["short"].state == "ended" and now["steady"].posed > 20)

        assert ask(head.address, ResumeSource("steady")) == Agreed("steady is not paused")
        assert ask(head.address, PauseSource("steady")) == Agreed("steady is paused")
        assert ask(head.address, PauseSource("steady")) == Agreed("steady is paused already")
        paused = head.wait_until(lambda now: now["steady"].in_flight == 0)["steady"]
        head.add("synthetic:32x32x40")
        later = head.wait_until(lambda now: now["synthetic-32x32x40"].posed == 40)["steady"]
        # In a process the word may have come one frame later.
        assert (later.state, later.taken - paused.taken <= 4) == ("paused", True)
        still = head.wait_until(lambda now: now["steady"].in_flight == 0)["steady"]
        assert head.list()["steady"].taken == still.taken

        assert ask(head.address, ResumeSource("steady")) == Agreed("steady goes on")
        head.wait_until(lambda now: now["steady"].taken > still.taken + 20)
        assert isinstance(ask(head.address, RemoveSource("steady")), Agreed)
        left = head.wait_until(lambda now: now["steady"].state == "removed")["steady"]
        assert (left.taken, left.in_flight, left.dropped) == (left.posed, 0, 0)
        head.add("synthetic:32x32x5", name="last")
        head.wait_until(lambda now: now["last"].state == "ended")
        code, out, err = head.end()

    assert (code, "Traceback" in err) == (0, False)
    counts = {"steady": left.posed, "short": 40, "synthetic-32x32x40": 40, "last": 5}
    for name, count in counts.items():
        lines = messages(tmp_path / "out" / f"{name}.jsonl")
        assert [line["seq"] for line in lines] == [line["n"] for line in lines] == list(range(count))
        assert any(row.split()[:3] == [name, str(count), str(count)] for row in out.splitlines())
    assert not list(runtime.iterdir())


@modes
def test_what_cannot_be_is_refused(runtime: Path, tmp_path: Path, media: ModuleType, mode: str) -> None:
    """Each refusal is one line with the exit code that a run would have for it, and disturbs nobody."""
    clip = media.write_video(tmp_path / "clip.mp4", media.numbered(3))
    words = ("synthetic:64x64", "--control", "--save-jsonl", "out/{source}.jsonl", "--mode", mode)
    with head_of(tmp_path, *words) as head:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "taken.jsonl").touch()
        head.add(str(clip))
        head.wait_until(lambda now: now["clip"].state == "ended")
        refusals = [
            (AddSource("{"), 2, "not JSON"),
            (AddSource("[]"), 2, "input should be a table"),
            (AddSource('{"url": "a.mp4", "nmae": "a"}'), 2, "unknown key source.nmae; did you mean source.name?"),
            (AddSource('{"url": " "}'), 2, "address is empty"),
            (AddSource('{"url": "-"}'), 2, "standard input (-) is the run's own"),
            (AddSource('{"url": "rtsp://bob:1/2@host/l"}'), 2, "its host cannot be told; in a user or password write"),
            (AddSource('{"url": "ftp://host/x"}'), 2, "ftp:// is not known; known are: rtsp"),
            (AddSource('{"url": "file:///gone.mp4"}'), 3, "gone.mp4 does not exist"),
            (AddSource('{"url": "gone.mp4"}'), 3, "gone.mp4 does not exist"),
            (AddSource('{"url": "gone.png"}'), 3, "gone.png does not exist"),
            (AddSource('{"url": "gone/*.png"}'), 3, "gone/*.png holds no pictures"),
            (AddSource('{"url": "out"}'), 3, "out holds no pictures"),
            (AddSource(json.dumps({"url": f"{'a' * 300}.mp4"})), 3, "name too long"),
            (AddSource(json.dumps({"url": "a" * 5000})), 3, "name too long"),
            (AddSource(json.dumps({"url": "/".join(["a" * 200] * 50)})), 3, "too long"),
            (AddSource(json.dumps({"url": "clip\0.mp4"})), 2, "signs in it that no address"),
            (AddSource(json.dumps({"url": "clip\ud800.mp4"})), 2, "signs in it that no address"),
            (AddSource(json.dumps({"url": "clip\udcff.mp4"})), 3, "does not exist"),
            (AddSource(json.dumps({"url": "rtsp://h\0/x"})), 2, "signs in it that no address"),
            (AddSource('{"url": "synthetic:0x0"}'), 2, "write synthetic:WIDTHxHEIGHT"),
            (AddSource('{"url": "synthetic:8x8", "name": "Door"}'), 2, "use small letters"),
            (AddSource('{"url": "synthetic:8x8", "name": ".."}'), 2, "use small letters"),
            (AddSource('{"url": "synthetic:8x8", "name": "clip"}'), 2, "'clip' was used in this run already"),
            (AddSource('{"url": "synthetic:8x8", "name": "taken"}'), 2, "out/taken.jsonl exists"),
            (RemoveSource("nobody"), 2, "there is no source 'nobody'; there are: synthetic-64x64, clip"),
            (RemoveSource("clip"), 2, "clip has gone already (ended)"),
            (PauseSource("clip"), 2, "clip has gone already (ended)"),
        ]
        answers = head.ask_all([question for question, _, _ in refusals])
        for (question, code, why), answer in zip(refusals, answers, strict=True):
            assert isinstance(answer, Refused), question
            assert (answer.code, why in answer.text) == (code, True), answer
        assert set(head.list()) == {"synthetic-64x64", "clip"}
        assert head.add(str(clip)).startswith("clip-2 is added")
        head.wait_until(lambda now: now["clip-2"].state == "ended")
        code, _, err = head.end()
    assert code == 0
    assert [line for line in err.splitlines() if "warning" in line or "error" in line] == []


@modes
def test_a_guest_that_fails_is_told_and_decides_nothing(runtime: Path, tmp_path: Path, mode: str) -> None:
    """A source that was added and is damaged is told at once, and why in the list; the run does well without it."""
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    with head_of(tmp_path, "--control", "--mode", mode) as head:
        head.add("bad.mp4")
        head.wait_until(lambda now: now["bad"].state == "failed")
        head.add("synthetic:32x32x5", name="good")
        now = head.wait_until(lambda now: now["good"].state == "ended")
        assert (now["bad"].state, "bad.mp4 is not a video" in now["bad"].why) == ("failed", True)
        code, _, err = head.end()
    assert code == 0
    assert "error: bad has failed, and the run goes on: " in err
    assert "Traceback" not in err


def test_a_run_ends_with_its_last_source_unless_asked_to_stay(runtime: Path, tmp_path: Path) -> None:
    """Without --control a run whose last source is removed has done its work."""
    with head_of(tmp_path, "synthetic:64x64", "--save-jsonl", "a.jsonl") as head:
        head.wait_until(lambda now: now["synthetic-64x64"].posed > 5)
        assert isinstance(ask(head.address, RemoveSource("synthetic-64x64")), Agreed)
        code, _, err = head.wait()
    assert code == 0
    assert "sources can be changed at" not in err
    lines = messages(tmp_path / "a.jsonl")
    assert {line["type"] for line in lines} == {"poses"}


def test_a_lane_that_dies_while_paused_stays_paused(runtime: Path, tmp_path: Path) -> None:
    """Whoever follows a lane that was killed is told at once that it is to wait, and goes on when the others do."""
    with head_of(tmp_path, "synthetic:64x64", "--save-jsonl", "a.jsonl", "--mode", "processes") as head:
        name = "synthetic-64x64"
        head.wait_until(lambda now: now[name].posed > 5)
        ask(head.address, PauseSource(name))
        held = head.wait_until(lambda now: now[name].in_flight == 0)[name].taken
        children = Path(f"/proc/{head.process.pid}/task/{head.process.pid}/children").read_text().split()
        (lane,) = [child for child in children if b"\0lane" in Path(f"/proc/{child}/cmdline").read_bytes()]
        os.kill(int(lane), signal.SIGKILL)
        assert head.process.stderr
        while "started again" not in head.process.stderr.readline():
            assert head.process.poll() is None
        assert head.list()[name].taken <= held + 4
        ask(head.address, ResumeSource(name))
        head.wait_until(lambda now: now[name].posed > held + 50)
        assert head.end()[0] == 0
    lines = messages(tmp_path / "a.jsonl")
    assert [line["seq"] for line in lines] == list(range(len(lines)))


@modes
def test_a_played_file_is_paused(runtime: Path, tmp_path: Path, media: ModuleType, mode: str) -> None:
    """A file at its own speed goes on where it was paused: each frame comes once, with the file's own time."""
    clip = media.write_video(tmp_path / "clip.mp4", media.numbered(50) * 2, rate=25)
    words = (clip, "--realtime", "--policy", "every-frame", "--save-jsonl", "{source}.jsonl", "--mode", mode)
    with head_of(tmp_path, *words) as head:
        head.wait_until(lambda now: now["clip"].posed > 5)
        ask(head.address, PauseSource("clip"))
        held = head.wait_until(lambda now: now["clip"].state == "paused" and now["clip"].in_flight == 0)["clip"].taken
        assert held < 100
        head.add("synthetic:32x32x200", name="other")
        assert head.wait_until(lambda now: now["other"].state == "ended")["clip"].taken == held
        ask(head.address, ResumeSource("clip"))
        assert head.wait()[0] == 0
    lines = messages(tmp_path / "clip.jsonl")
    assert [(line["seq"], line["epoch"]) for line in lines] == [(seq, 0) for seq in range(100)]
    assert [line["pts"] for line in lines] == pytest.approx([seq / 25 for seq in range(100)])


@needs_server
def test_a_live_source_is_let_go_and_comes_back(runtime: Path, tmp_path: Path) -> None:
    """Paused, a live source has no connection and gives no frames; resumed, it goes on in an epoch of its own."""
    clip = write_clip(tmp_path / "clip.units")
    with RtspServer(clip, RATE) as server, head_of(tmp_path, "--control", "--save-jsonl", "{source}.jsonl") as head:
        head.add(f"rtsp://127.0.0.1:{server.port}/live", name="door", policy="every-frame")
        head.wait_until(lambda now: now["door"].posed > 5)
        ask(head.address, PauseSource("door"))
        head.wait_until(lambda now: now["door"].state == "paused" and now["door"].in_flight == 0)
        held = head.list()["door"].taken
        head.add("synthetic:32x32x200", name="other")
        head.wait_until(lambda now: now["other"].state == "ended")
        assert head.list()["door"].taken == held
        ask(head.address, ResumeSource("door"))
        head.wait_until(lambda now: now["door"].state == "live" and now["door"].posed > held + 5)
        ask(head.address, RemoveSource("door"))
        head.wait_until(lambda now: now["door"].state == "removed")
        assert head.end()[0] == 0
    lines = messages(tmp_path / "door.jsonl")
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert [line["epoch"] for line in lines] == sorted(line["epoch"] for line in lines)
    assert {line["epoch"] for line in lines} == {0, 1}


def test_a_long_list_comes_in_pages(runtime: Path, tmp_path: Path) -> None:
    """More sources than one answer holds are all listed, in their order."""
    with head_of(tmp_path, "--control") as head:
        names = [f"source-{number}" for number in range(70)]
        head.add_all(names)
        assert list(head.list()) == names
        head.wait_until(lambda now: all(entry.state == "ended" for entry in now.values()))
        assert head.end()[0] == 0


def test_sources_that_came_and_went(runtime: Path, tmp_path: Path) -> None:
    """The last hundred are listed, older ones are told in one line; no name is used twice in a run."""
    words = ("--control", "--publish", f"ipc://{runtime}/out")
    with head_of(tmp_path, *words) as head:
        head.add_all([f"guest-{number}" for number in range(103)])
        head.wait_until(lambda now: len(now) == 100 and all(entry.state == "ended" for entry in now.values()))
        for name in ("guest-0", "guest-102"):
            again = ask(head.address, AddSource(json.dumps({"url": "synthetic:8x8x1", "name": name})))
            assert isinstance(again, Refused)
            assert f"'{name}' was used in this run already" in again.text
        assert isinstance(ask(head.address, PauseSource("guest-0")), Refused)
        code, out, err = head.end()
    assert (code, "Traceback" in err) == (0, False)
    assert "3 sources more came and went before these: 3 frames taken, 3 posed, 0 dropped" in out


def test_the_command(runtime: Path, cli: CommandLine, folder: Path, media: ModuleType) -> None:
    """`control` finds the one run, takes paths from where it is called, and gives the run's answer and exit code."""
    (folder / "elsewhere").mkdir()
    media.write_video(folder / "clip.mp4", media.numbered(20))
    with head_of(folder / "elsewhere", "--control", "--save-jsonl", "{source}.jsonl") as head:
        done = cli("control", "add", "clip.mp4", "--name", "door", "--max-frames", 7, "--set", "start_s=0.5")
        assert (done.code, done.out) == (0, f"door is added: {folder / 'clip.mp4'}\n")
        head.wait_until(lambda now: now["door"].state == "ended")
        table = cli("control", "list").out.splitlines()
        assert table[0].split() == ["source", "state", "taken", "posed", "dropped", "in", "flight", "url"]
        assert table[1].split() == ["door", "ended", "7", "7", "0", "0", str(folder / "clip.mp4")]
        (line,) = cli("control", "--connect", head.address, "list", "--json").out.splitlines()
        assert json.loads(line)["taken"] == 7
        refused = cli("control", "pause", "gate")
        assert (refused.code, refused.lines) == (2, ["posestream: error: there is no source 'gate'; there are: door"])
        assert cli("control", "add", "gone.mp4").code == 3
        empty = cli("control", "add", "")
        assert (empty.code, len(empty.lines), "address is empty" in empty.err) == (2, 1, True)
        assert head.end()[0] == 0
    assert messages(folder / "elsewhere" / "door.jsonl")[0]["pts"] == 0.5

    nobody = cli("control", "list")
    assert (nobody.code, len(nobody.lines), "no run is going on here" in nobody.err) == (4, 1, True)


def test_several_runs_must_be_told_apart(runtime: Path, cli: CommandLine, folder: Path) -> None:
    """Where several runs go on, `control` names their addresses instead of choosing one."""
    with head_of(folder, "--control") as first, head_of(folder, "--control"):
        deadline_s = time.monotonic() + DEADLINE_S
        while len(control_addresses()) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        done = cli("control", "list")
        assert done.code == 2
        assert all(address in done.err for address in control_addresses())
        assert first.address in control_addresses()
        assert cli("control", "--connect", first.address, "list").code == 0


def test_malformed_questions_are_in_the_status(runtime: Path, tmp_path: Path) -> None:
    """What is no question is counted in the run's status, as what comes to its other sockets is."""
    status = f"ipc://{runtime}/status"
    with (
        head_of(tmp_path, "--control", "--set", f'pipeline.status=["{status}"]') as head,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as speaker,
        context.socket(zmq.SUB) as listener,
    ):
        speaker.linger = 0
        listener.setsockopt(zmq.SUBSCRIBE, b"status/")
        listener.connect(status)
        speaker.connect(head.address)
        for _ in range(3):
            speaker.send(b"noise")
        deadline_s = time.monotonic() + DEADLINE_S
        told: dict[str, Any] = {}
        while told.get("malformed") != 3:
            assert time.monotonic() < deadline_s, told
            if listener.poll(100):
                told = msgpack.unpackb(listener.recv_multipart()[1])
        assert head.end()[0] == 0


def test_bench_churn(runtime: Path, cli: CommandLine) -> None:
    """Sources come and go in a run that publishes, and memory is told of its head and its porch."""
    done = cli("bench", "churn", "--changes", 2)
    assert done.code == 0, done.err
    told = json.loads(done.out.splitlines()[-1])
    assert (told["bench"], told["mode"], told["changes"]) == ("churn", "threads", 2)
    (run,) = told["runs"]
    assert sorted(run) == ["head", "porch"]
    for part in run.values():
        assert (len(part["memory_mb"]), min(part["memory_mb"]) > 10, part["kb_per_change"]) == (3, True, None)


def test_what_a_change_leaves_is_told_of_those_that_settled() -> None:
    """Growth counts from where the last hundred sources are kept and older ones forgotten; steps do not hide it."""
    samples = [100.0 + 0.1 * min(number, 120) + 0.01 * number for number in range(301)]
    assert trend(samples)["kb_per_change"] == 10.0
    assert trend([100.0] * 130)["kb_per_change"] is None
    assert len(trend(samples)["memory_mb"]) == 21
