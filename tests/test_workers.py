"""Workers as processes of their own, and the heads that they serve."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from posestream.pipeline.bench.ports import free_ports
from posestream.pipeline.bench.program import Program
from posestream.pipeline.bench.scene import SYNTHETIC, Scene, make_scene, messages

from .e2e import DEADLINE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc, which only Linux has")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Give a clip and recorded maps."""
    return make_scene(tmp_path_factory.mktemp("scene"), frames=40, service_ms=5.0)


def wait_until(is_so: Callable[[], object], *programs: Program) -> None:
    """Wait for what other processes do."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, [program.errors for program in programs]
        time.sleep(0.02)


def test_a_worker_that_outlives_its_head_serves_the_next_one_as_that_wants(tmp_path: Path, scene: Scene) -> None:
    """A head at the address of one that was killed has its own settings' results of the worker that is still there."""
    address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    listens = ("--listen", address, "--set", 'replicas.devices=["none"]')
    alone = Program(tmp_path, *scene.words(tmp_path / "alone.jsonl", "--single-person"))
    with alone:
        assert alone.wait(DEADLINE_S) == 0, alone.errors
    expected = messages(tmp_path / "alone.jsonl")
    assert expected != scene.expected
    first_lines = tmp_path / "first.jsonl"
    with (
        Program(tmp_path, *scene.words(first_lines, *listens, source=SYNTHETIC)) as first,
        Program(tmp_path, "worker", "--connect", address, "--device", scene.device) as worker,
    ):
        wait_until(lambda: first_lines.exists() and first_lines.stat().st_size, first, worker)
        first.signal(signal.SIGKILL)
        first.wait(DEADLINE_S)
        with Program(tmp_path, *scene.words(tmp_path / "second.jsonl", *listens, "--single-person")) as second:
            assert second.wait(DEADLINE_S) == 0, second.errors
        assert worker.wait(DEADLINE_S) == 0, worker.errors
        told = [line for line in worker.errors if "another head" in line]
    assert messages(tmp_path / "second.jsonl") == expected
    assert len(told) == 1


def test_a_worker_whose_engine_hangs_leaves_and_another_one_does_its_frames(tmp_path: Path, scene: Scene) -> None:
    """An inference that never ends makes its worker's process end with 6 and say what hangs; nothing is missing."""
    address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    service_ms, maps = scene.device.removeprefix("simulated:").split(":", 1)
    options = ("--listen", address, "--set", 'replicas.devices=["none"]', "--set", "replicas.hang_s=1")
    join = ("worker", "--connect", address, "--device")
    with (
        Program(tmp_path, *scene.words(tmp_path / "lines.jsonl", *options)) as head,
        Program(tmp_path, *join, f"simulated:{service_ms}@5:{maps}") as hung,
    ):
        assert hung.wait(DEADLINE_S) == 6, hung.errors
        with Program(tmp_path, *join, scene.device) as well:
            assert head.wait(DEADLINE_S) == 0, head.errors
            assert well.wait(DEADLINE_S) == 0, well.errors
        assert "of clip has not ended for" in hung.errors[-1]
    assert messages(tmp_path / "lines.jsonl") == scene.expected


def test_a_worker_joins_a_head_of_its_host_by_a_file(tmp_path: Path, runtime: Path, scene: Scene) -> None:
    """`--listen ipc://PATH` and `--connect ipc://PATH` meet, do the job, and leave no file."""
    path = runtime / "head"
    lines = tmp_path / "lines.jsonl"
    options = ("--listen", f"ipc://{path}", "--set", 'replicas.devices=["none"]')
    with (
        Program(tmp_path, *scene.words(lines, *options)) as head,
        Program(tmp_path, "worker", "--connect", f"ipc://{path}", "--device", scene.device) as worker,
    ):
        assert head.wait(DEADLINE_S) == 0, head.errors
        assert worker.wait(DEADLINE_S) == 0, worker.errors
    assert messages(lines) == scene.expected
    assert not path.exists()
