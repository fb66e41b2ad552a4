"""RTSP as a source, from GStreamer's own server."""

from __future__ import annotations

import contextlib
import threading
from itertools import pairwise

import pytest

from posestream.pipeline.bench.rtsp_server import RtspServer
from posestream.stages.errors import SourceError
from posestream.stages.source.link_state import LinkPhase
from posestream.stages.source.opening import SourceSettings, open_source

from ... import rtsp  # noqa: TID252 — tests have no name of their own to import them by
from .fake_link import DEADLINE_S

clip, server = rtsp.clip, rtsp.server
FRAMES, RATE = rtsp.FRAMES, rtsp.RATE

pytestmark = rtsp.needs_server


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_and_their_times(media, server, transport):
    """Frames come in order with their own times, over either transport, and none is missing after the beginning."""
    settings = SourceSettings(
        f"rtsp://127.0.0.1:{server.port}/live", transport=transport, policy="every-frame", max_frames=40
    )
    with open_source(settings) as source:
        info = source.open()
        frames = list(source.frames())
    assert (info.name, info.width, info.height, info.is_live, info.keeps_newest) == ("127.0.0.1", 160, 120, True, False)
    numbers = [media.number_of(frame.picture.bgr()) for frame in frames[5:]]
    assert [(after - before) % FRAMES for before, after in pairwise(numbers)] == [1] * (len(numbers) - 1)
    steps = [after.pts_s - before.pts_s for before, after in pairwise(frames[5:])]
    # The server's own reports correct its clock by some milliseconds now and then.
    assert sorted(steps)[len(steps) // 2] == pytest.approx(1 / RATE, abs=1e-4)
    assert min(steps) > 0


@pytest.mark.parametrize(
    ("login", "phase", "why"),
    [
        ("me:wrong@", LinkPhase.BACKING_OFF, "user or password is wrong (401)"),
        ("", LinkPhase.BACKING_OFF, "a user and a password are needed (401)"),
        ("me:right@", LinkPhase.LIVE, ""),
    ],
)
def test_a_wrong_password_is_told_apart(clip, login, phase, why):
    """Who gives a wrong password, or none, is told so, without it."""
    with RtspServer(clip, RATE, login="me:right") as server:
        source = open_source(SourceSettings(f"rtsp://{login}127.0.0.1:{server.port}/live"))
        opening = threading.Thread(target=open_or_not, args=(source,), daemon=True)
        opening.start()
        try:
            with source.link.changed:
                assert source.link.changed.wait_for(
                    lambda: source.link.now.phase not in (LinkPhase.CONNECTING,), DEADLINE_S
                )
                state = source.link.now
        finally:
            source.link.stop()
            opening.join(DEADLINE_S)
            source.close()
    assert state.phase is phase
    assert state.why == (f"rtsp://127.0.0.1:{server.port}/live cannot be opened: {why}" if why else "")


def open_or_not(source):
    """Open a source until it is stopped."""
    with contextlib.suppress(SourceError):
        source.open()
