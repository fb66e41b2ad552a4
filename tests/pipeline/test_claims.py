"""Locks of outputs: one run writes an output, and nobody else meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestream.pipeline.claims import Claims
from posestream.stages.errors import SettingsError


def test_what_one_run_writes_is_refused_to_others_until_it_ends(tmp_path: Path) -> None:
    """An output that is not there yet is claimed too; no file is left of it."""
    first = Claims([tmp_path / "new" / "a.jsonl", tmp_path / "images"])
    for path in (tmp_path / "new" / "a.jsonl", tmp_path / "images"):
        with pytest.raises(SettingsError, match="another run writes it"):
            Claims([tmp_path / "b.csv", path])
    first.release()
    first.release()
    Claims([tmp_path / "b.csv", tmp_path / "new" / "a.jsonl", tmp_path / "images"]).release()
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]


def test_what_cannot_be_locked_is_left_to_the_output(tmp_path: Path) -> None:
    """A folder that is a file has no locks; the output itself tells what is wrong."""
    (tmp_path / "file").touch()
    Claims([tmp_path / "file" / "a.jsonl"]).release()
