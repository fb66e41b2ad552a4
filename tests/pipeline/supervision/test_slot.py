"""Parts that are followed by others, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from posestream.pipeline.supervision import run_folder
from posestream.pipeline.supervision.restarts import Restarts
from posestream.pipeline.supervision.run_folder import RunFolder, sweep
from posestream.pipeline.supervision.slot import Slot


class Part:
    """Something that can be started."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.is_started = False

    def start(self) -> None:
        self.is_started = True


def test_pauses_grow_and_the_budget_ends() -> None:
    """The first restart is at once, the next ones after growing pauses, and one too many is refused."""
    restarts = Restarts(budget=4, window_s=60.0, pause_s=0.1)
    pauses = [restarts.failed(10.0) for _ in range(5)]
    assert pauses == [10.0, 10.1, 10.2, 10.4, None]
    assert restarts.total == 4


def test_pauses_grow_to_a_longest_one() -> None:
    """A part that is to come back however often it dies is not waited for ever longer."""
    restarts = Restarts(budget=9, window_s=600.0, pause_s=1.0, longest_s=3.0)
    assert [restarts.failed(0.0) for _ in range(6)] == [0.0, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_old_failures_are_forgotten() -> None:
    """A part that fails once in a long while is always started again."""
    restarts = Restarts(budget=1, window_s=60.0)
    assert [restarts.failed(now_s) for now_s in (0.0, 61.0, 122.0)] == [0.0, 61.0, 122.0]


def test_a_successor_starts_when_its_time_has_come() -> None:
    """Between a failure and its pause's end the slot waits; then the next generation runs."""
    slot = Slot("replica-1", Part, Restarts(pause_s=1.0))
    slot.fail(0.0, RuntimeError("first"))
    slot.go_on(0.0)
    assert (slot.part.generation, slot.part.is_started, slot.restarts) == (1, True, 1)

    slot.fail(0.0, RuntimeError("second"))
    slot.go_on(0.5)
    assert slot.is_waiting
    slot.go_on(1.0)
    assert (slot.part.generation, slot.is_waiting) == (2, False)


def test_an_exhausted_slot_stays_empty() -> None:
    """After one failure too many nobody follows, and the slot knows why."""
    slot = Slot("replica-1", Part, Restarts(budget=0))
    why = RuntimeError("again")
    slot.fail(0.0, why)
    slot.go_on(100.0)
    assert (slot.is_exhausted, slot.error, slot.part.generation) == (True, why, 0)


def test_folders_of_dead_runs_are_swept(tmp_path: Path) -> None:
    """A folder whose lock nobody holds is removed; a living run's and somebody else's are left alone."""
    living = RunFolder(tmp_path)
    dead = tmp_path / "posestream-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "lanes").touch()
    other = tmp_path / "posestream-other"
    other.mkdir()

    assert sweep(tmp_path) == [dead]
    assert (dead.exists(), living.path.exists(), other.exists()) == (False, True, True)
    living.remove()
    assert not living.path.exists()


def test_a_folder_is_not_swept_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that starts, and sweeps, while another one makes its folder leaves that one alone."""

    class SlowLock(FileLock):
        def acquire(self, *args: Any, **kwargs: Any) -> Any:
            Path(self.lock_file).touch()  # as it is for a moment in between
            monkeypatch.undo()
            assert sweep(tmp_path) == []
            return super().acquire(*args, **kwargs)

    monkeypatch.setattr(run_folder, "FileLock", SlowLock)
    folder = RunFolder(tmp_path)
    assert folder.path.is_dir()
    assert sweep(tmp_path) == []
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_is_private(tmp_path: Path) -> None:
    """Nobody else may enter the folder, and its lock is held."""
    folder = RunFolder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert not FileLock(folder.path / "lock").is_locked
    assert sweep(tmp_path) == []
    folder.remove()
