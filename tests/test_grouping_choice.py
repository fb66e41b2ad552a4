"""Which grouping serves is the user's to say, and is found out before any work."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from posestream.stages.group import implementation
from posestream.stages.group.compiled import NotCompiledError

from .e2e import CommandLine, FakeNetwork


def test_a_grouping_that_is_not_there_is_refused_before_any_work(
    network: FakeNetwork, cli: CommandLine, folder: Path, media: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for, it is one line, exit code 2 and no output; by default NumPy's serves."""

    def load() -> ModuleType:
        raise NotCompiledError("nothing was compiled", is_broken=False)

    monkeypatch.setattr(implementation, "load", load)
    clip = media.write_video(folder / "clip.mp4", media.numbered(3))

    done = cli("run", clip, "--save-jsonl", "a.jsonl", "--set", "group.implementation=compiled")

    assert done.code == 2
    assert ["install a C compiler" in line for line in done.complaints] == [True]
    assert not (folder / "a.jsonl").exists()
    assert cli("run", clip, "--save-jsonl", "a.jsonl").code == 0
    assert len((folder / "a.jsonl").read_text("utf-8").splitlines()) == 3
