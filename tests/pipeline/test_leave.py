"""How a process ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: A thread that is left behind, which would print if the interpreter waited for it or let it see its end.
_LEFT = "threading.Thread(target=lambda: time.sleep(600), daemon=True).start()"


@pytest.mark.parametrize(("left", "at_exit"), [("", "tidied\n"), (_LEFT, "")])
def test_a_process_ends_with_its_code_and_its_words(left: str, at_exit: str) -> None:
    """What was printed comes out and the code is the one given; with a thread left, nothing is taken down any more."""
    program = (
        "import atexit, threading, time\n"
        "from posestream.pipeline.leave import leave\n"
        "atexit.register(print, 'tidied')\n"
        f"{left}\n"
        "print('said')\n"
        "leave(5)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (5, f"said\n{at_exit}", "")


def test_a_process_without_standard_streams_ends_with_its_code() -> None:
    """One that was started with them closed has nothing to flush."""
    program = (
        "import sys, threading, time\n"
        "from posestream.pipeline.leave import leave\n"
        f"{_LEFT}\n"
        "sys.stdout = sys.stderr = None\n"
        "leave(5)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (5, b"", b"")
