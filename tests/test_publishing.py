"""Publishing, keys and recordings by the command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .e2e import ROOT, CommandLine, FakeNetwork, messages


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """A network that sees one person in every picture."""
    return FakeNetwork(monkeypatch)


@pytest.fixture
def posestream(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Give the command line."""
    return CommandLine(capsys)


@pytest.fixture
def clip(tmp_path: Path, media: Any) -> Path:
    """Give a short video."""
    path: Path = media.write_video(tmp_path / "door.mp4", media.numbered(12))
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:  # noqa: S603
        pytest.skip("only root can make a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607


def free_port() -> int:
    """Give a port that nobody has, and whose next one, where missed messages are asked for, nobody has either."""
    while True:
        with socket.socket() as probe, socket.socket() as following:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
            try:
                following.bind(("", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def test_an_address_that_others_reach_needs_a_key_or_a_word(posestream: CommandLine, clip: Path) -> None:
    """Without a key it is refused before any work; with --insecure it is done and said once."""
    words = ["run", clip, "--net-height", "64", "--publish", f"tcp://*:{free_port()}"]
    refused = posestream(*words)
    assert (refused.code, len(refused.complaints)) == (2, 1)
    assert "--insecure" in refused.err
    insecure = posestream(*words, "--insecure")
    assert insecure.code == 0
    assert insecure.err.count("nothing authenticates them") == 1


def test_with_a_key_an_address_is_open_to_the_network_and_no_key_is_told(
    posestream: CommandLine, clip: Path, tmp_path: Path
) -> None:
    """Keys are made by a command, and none of them shows in what the program says, not even when debugging."""
    made = posestream("keys", "new", "head", "--folder", tmp_path / "keys")
    public, secret = (Path(line) for line in made.out.splitlines())
    done = posestream(
        *("--debug", "run", clip, "--net-height", "64", "--publish", f"tcp://*:{free_port()}", "--key", secret)
    )
    assert done.code == 0
    keys = [line.split('"')[1] for line in secret.read_text().splitlines() if '"' in line]
    assert len(keys) == 2
    assert not any(key in text for key in keys for text in (done.err, done.out, made.out))
    refused = posestream("run", clip, "--publish", "tcp://*:5", "--key", public)
    assert (refused.code, len(refused.complaints)) == (2, 1)


def test_an_address_that_is_taken_is_said_before_any_work(posestream: CommandLine, clip: Path, tmp_path: Path) -> None:
    """One line, exit code 2, and no output was begun."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        lines = tmp_path / "out.jsonl"
        refused = posestream("run", clip, "--net-height", "64", "--publish", address, "--save-jsonl", lines)
    assert (refused.code, len(refused.complaints)) == (2, 1)
    assert not lines.exists()


def test_a_taken_port_for_requests_is_told_as_that(posestream: CommandLine, clip: Path) -> None:
    """Where the port after the one for publishing is somebody else's, the line says what it would be for."""
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        refused = posestream("run", clip, "--net-height", "64", "--publish", f"tcp://127.0.0.1:{port}")
    assert (refused.code, len(refused.complaints)) == (2, 1)
    assert f"{port + 1}: address already in use; subscribers would ask there" in refused.err
    assert "publish.replay" in refused.err


def test_a_disk_that_fills_up_costs_what_does_not_fit(
    posestream: CommandLine, tmp_path: Path, media: Any, small_disk: Path
) -> None:
    """Outputs on it fail with one line each, whole to their last record; others go on; the exit code is 5."""
    clip = media.write_video(tmp_path / "long.mp4", media.numbered(20) * 12)
    outputs = ["--save-csv", small_disk / "out.csv", "--save-coco", small_disk / "out.json"]
    done = posestream(
        *("run", clip, "--net-height", "64", "--save-jsonl", tmp_path / "out.jsonl", *outputs),
        *("--replay-log", small_disk / "log", "--publish", f"ipc://{tmp_path}/poses"),
    )
    assert done.code == 5
    assert done.err.count("No space left on device") >= 2
    assert len(messages(tmp_path / "out.jsonl")) == 240
    assert json.loads((small_disk / "out.json").read_text())
    assert (small_disk / "out.csv").read_text().endswith("\n")


def test_no_module_unpickles() -> None:
    """Nothing that comes over a socket, or from anywhere else, can be a pickle: nobody imports it."""
    found = [path for folder in ("pipeline", "stages", "models") for path in (ROOT / folder).rglob("*.py")]
    assert found
    assert [path for path in found if "pickle" in path.read_text("utf-8").replace("not as a pickle", "")] == []
