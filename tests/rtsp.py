"""Real RTSP servers for tests, of clips whose frames tell their number, and what a test needs where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from posestream.pipeline.bench.rtsp_clip import write_units
from posestream.pipeline.bench.rtsp_server import INSTALL, RtspServer, server_python

from . import media
from .e2e import pictures

__all__ = ["FRAMES", "RATE", "clip", "needs_server", "pictures", "server", "write_clip"]

#: Frames per second, and frames until the clip begins anew.
RATE, FRAMES = 25, 50

needs_server = pytest.mark.skipif(server_python() is None, reason=f"no RTSP server is here: {INSTALL}")


def write_clip(path: Path, width: int = 160, height: int = 120) -> Path:
    """Write a clip of numbered frames as the server takes it."""
    return write_units(path, media.numbered(FRAMES, width, height), RATE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 160×120."""
    return write_clip(tmp_path_factory.mktemp("rtsp") / "clip.units")


@pytest.fixture
def server(clip: Path) -> Iterator[RtspServer]:
    """A server of that clip."""
    with RtspServer(clip, RATE) as running:
        yield running
