"""What tests of more than one folder share."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from . import media as media_module
from .e2e import CommandLine, FakeNetwork

# A time limit would fail on machines that do something else beside.
settings.register_profile("posestream", deadline=None)
settings.load_profile("posestream")


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Leave the log as it was: a command sends it to its console, where pytest would hear it twice or not at all."""
    logger = logging.getLogger("posestream")
    before = (list(logger.handlers), logger.propagate, logger.level)
    yield
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the folder of this test's runs; a socket's path is short."""
    folder = Path(tempfile.mkdtemp(prefix="ps-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def media() -> ModuleType:
    """Give the makers of small videos and pictures (tests/media.py)."""
    return media_module


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """Call the command line in this process."""
    return CommandLine(capfd)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """Put a fake in the network's place."""
    return FakeNetwork(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
