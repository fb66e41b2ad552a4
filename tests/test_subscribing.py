"""`subscribe` by the command line: when nobody reads it any more, and when a source is none."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .e2e import DEADLINE_S, CommandLine, program
from .pipeline.publish.stand import Stand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """A publisher."""
    made = Stand(f"ipc://{tmp_path}/poses")
    yield made
    made.close()


def test_a_reader_that_has_gone_is_a_usual_end(stand: Stand) -> None:
    """After `head` has had its lines, `subscribe --json` ends with 0 and says nothing."""
    words = program("subscribe", stand.address, "--json", "--replay")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listening:  # noqa: S603
        assert listening.stdout is not None
        assert listening.stderr is not None
        stand.publish(0)
        assert json.loads(listening.stdout.readline())["n"] == 0
        listening.stdout.close()
        n, deadline_s = 1, time.monotonic() + DEADLINE_S
        while listening.poll() is None and time.monotonic() < deadline_s:
            stand.publish(n)
            n += 1
            time.sleep(0.05)
        assert (listening.poll(), listening.stderr.read()) == (0, "")


def test_a_closed_standard_output_is_told(tmp_path: Path) -> None:
    """Lines that nobody could ever get are one line and exit code 5, before anything is listened to."""
    words = program("subscribe", f"ipc://{tmp_path}/none", "--json", "--idle", "0.2")
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=False)  # noqa: S603
    assert done.returncode == 5
    assert done.stderr == "posestream: error: cannot write standard output: it is closed; open it, or write to a file\n"


def test_a_source_that_is_none_is_told_with_those_that_are(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of a source for some seconds is one line, which names the sources that there are; others have none."""
    monkeypatch.setattr("posestream.pipeline.client.unheard._PATIENCE_S", 0.5)
    for source in ("door", "yard"):
        stand.publish(0, source=source)
    stand.wait_for(2)
    posestream = CommandLine(capsys)
    heard = posestream("subscribe", stand.address, "--source", "nope", "--source", "door", "--idle", "3", "--json")
    assert heard.code == 0
    assert heard.complaints == [
        "posestream: warning: nothing of nope was heard from the publisher within 0.5 s; it has door, yard"
    ]
    known = posestream("subscribe", stand.address, "--source", "door", "--idle", "2", "--json")
    assert (known.code, known.complaints) == (0, [])


def test_a_recording_on_standard_output_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--record -` makes no file of that name, and the line says what gives the same."""
    monkeypatch.chdir(tmp_path)
    refused = CommandLine(capsys)("subscribe", "tcp://127.0.0.1:5556", "--record", "-", "--idle", "1")
    assert (refused.code, len(refused.complaints)) == (2, 1)
    assert "--json --replay" in refused.err
    assert not (tmp_path / "-").exists()
