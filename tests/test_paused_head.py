"""A head that does not run for a while: stopped by Ctrl-Z, or with a machine that sleeps or has no processor for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .e2e import DEADLINE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")

#: The program, to whom a lane hangs after 2 s; how long it is stopped, in seconds.
_CODE = (
    "from posestream.pipeline.lane import process; process.SILENCE_S = 2.0; import run_pipeline; run_pipeline.entry()"
)
_STOPPED_S = 2.5


def test_it_takes_no_lane_for_hung_that_it_could_not_hear(tmp_path: Path) -> None:
    """Lanes that spoke while their head was stopped go on when it does, however long that was."""
    words = ["run", "synthetic:64x64", "--mode", "processes", "--save-jsonl", "-", "--net-height", "64"]
    device = ["--set", 'replicas.devices=["simulated:50"]']
    with subprocess.Popen(  # noqa: S603 — our own program
        [sys.executable, "-c", _CODE, *words, *device],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as head:
        assert head.stdout
        try:
            for _ in range(2):
                head.stdout.readline()
                head.send_signal(signal.SIGSTOP)
                time.sleep(_STOPPED_S)
                head.send_signal(signal.SIGCONT)
            until_s = time.monotonic() + 0.5
            while time.monotonic() < until_s:
                assert head.stdout.readline()
            head.send_signal(signal.SIGTERM)
            _, told = head.communicate(timeout=DEADLINE_S)
        finally:
            head.kill()
    assert head.returncode == 0
    assert "hangs" not in told
    assert "started again" not in told
