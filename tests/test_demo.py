"""The demo end to end: from nothing to a video and lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestream.models.errors import FetchError
from posestream.models.samples import fetch_sample

from .e2e import frame_times, messages, real_network, run_program


def test_the_demo(tmp_path: Path) -> None:
    """`python run_pipeline.py demo` finds people in every frame and says where the video and the lines are."""
    environment = real_network()
    try:
        fetch_sample()
    except FetchError as error:
        pytest.skip(f"the sample clip is not here and cannot be fetched: {error}")
    done = run_program("demo", "--max-frames", 8, environment=environment, folder=tmp_path)
    assert (done.code, done.complaints) == (0, [])
    told = messages(tmp_path / "out" / "demo.jsonl")
    assert [message["seq"] for message in told] == list(range(8))
    assert all(message["people"][0]["score"] > 0.3 for message in told)
    assert len(frame_times(tmp_path / "out" / "demo.mp4")) == 8
    assert "demo: wrote out/demo.mp4" in done.out.splitlines()
    assert "demo: wrote out/demo.jsonl" in done.out.splitlines()
    again = run_program("demo", "--max-frames", 2, "--quiet", environment=environment, folder=tmp_path)
    assert (again.code, again.out, again.err) == (0, "", "")
    assert len(messages(tmp_path / "out" / "demo.jsonl")) == 2
