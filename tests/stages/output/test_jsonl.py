"""The JSONL file: one message per line, complete at every moment."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from posestream.stages.errors import OutputError
from posestream.stages.items import Drop, Frame, FrameKey, Reason, Stage
from posestream.stages.output.jsonl import JsonlSettings, JsonlSink
from posestream.stages.output.sink import Ended

#: The lines tell all there is to tell: this output looks at nothing of its source.
NO_INFO = cast(Any, None)


def an_ended(message: dict[str, Any]) -> Ended:
    """Give an ended frame with a message."""
    key = FrameKey("door", 0)
    frame = Frame(key, 0, 0, Fraction(1, 30), 0.0, 0.0, 64, 48, None)
    return Ended(frame, Drop(key, Stage.DISPATCH, Reason.NEWER), message)


def fill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk take four bytes more and no further ones."""
    real, room = os.write, [4]

    def write(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, bytes(data)[: room.pop()])

    monkeypatch.setattr(os, "write", write)


def test_one_object_per_line(tmp_path: Path) -> None:
    """Each message is one line of JSON in order, in a folder made for it, and on the disk before the next one."""
    path = tmp_path / "new" / "out.jsonl"
    sink = JsonlSink(JsonlSettings(path))
    sink.open(NO_INFO)

    sink.write(an_ended({"n": 0, "name": "é"}))
    first = path.read_bytes()
    sink.write(an_ended({"n": 1}))
    sink.close()
    sink.close()

    assert first == '{"n":0,"name":"é"}\n'.encode()
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == [{"n": 0, "name": "é"}, {"n": 1}]
    assert sink.paths == (path,)


def test_one_system_call_per_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line reaches the system in one write, so a reader never sees half of one."""
    calls: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: calls.append(bytes(data)) or real(descriptor, data))
    sink = JsonlSink(JsonlSettings(tmp_path / "out.jsonl"))
    sink.open(NO_INFO)

    sink.write(an_ended({"text": "x" * 100_000}))
    sink.close()

    assert [len(call) for call in calls] == [100_012]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    """Opening begins the file anew: lines of an earlier run never stand before this one's."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    sink = JsonlSink(JsonlSettings(path))
    sink.open(NO_INFO)
    sink.close()

    assert path.read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    """A disk without space is an error that names the file and says what to do."""
    sink = JsonlSink(JsonlSettings(Path("/dev/full")))
    sink.open(NO_INFO)

    with pytest.raises(OutputError, match=r"^cannot write /dev/full: No space left on device; free some space[^\n]*$"):
        sink.write(an_ended({"n": 0}))
    sink.close()


def test_a_line_that_does_not_fit_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes a part of a line keeps the lines before it, each whole."""
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(JsonlSettings(path))
    sink.open(NO_INFO)
    sink.write(an_ended({"n": 0}))
    fill_up(monkeypatch)
    with pytest.raises(OutputError, match="No space left on device"):
        sink.write(an_ended({"n": 1}))
    sink.close()
    assert path.read_bytes() == b'{"n":0}\n'


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    """A path that cannot be opened is an error that names it."""
    with pytest.raises(OutputError, match=r"^cannot write .*; give the path of a file$"):
        JsonlSink(JsonlSettings(tmp_path)).open(NO_INFO)


SCRIPT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from posestream.stages.output.jsonl import JsonlSettings, JsonlSink
sink = JsonlSink(JsonlSettings(Path(sys.argv[1])))
sink.open(None)
for n in range(int(sys.argv[2])):
    sink.write(SimpleNamespace(message={"n": n}))
    if sys.argv[1] != "-":
        print(n, flush=True)
sys.stdin.read()
"""


def test_standard_output_takes_the_lines() -> None:
    """The path "-" writes the lines to standard output, and closing leaves that open."""
    done = subprocess.run(  # noqa: S603  # this test's own script
        [sys.executable, "-c", SCRIPT + "\nsink.close()\nprint('after')", "-", "3"],
        input=b"",
        capture_output=True,
        check=True,
    )

    assert done.stdout == b'{"n":0}\n{"n":1}\n{"n":2}\nafter\n'
    assert JsonlSink(JsonlSettings(Path("-"))).paths == ()


MANY = """
import threading
from pathlib import Path
from types import SimpleNamespace
from posestream.stages.output.jsonl import JsonlSettings, JsonlSink

def write(source):
    sink = JsonlSink(JsonlSettings(Path("-")))
    sink.open(None)
    for n in range(40):
        sink.write(SimpleNamespace(message={"source": source, "n": n, "text": source * 30_000}))
    sink.close()

threads = [threading.Thread(target=write, args=(source,)) for source in "abc"]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_sources_that_share_standard_output_write_whole_lines() -> None:
    """Lines much longer than a pipe takes in one piece have no other source's line in their middle."""
    done = subprocess.run(  # noqa: S603  # this test's own script
        [sys.executable, "-c", MANY], capture_output=True, check=True
    )

    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(message["text"]) == {message["source"]} for message in messages)
    for source in "abc":
        assert [message["n"] for message in messages if message["source"] == source] == list(range(40))


def test_standard_output_is_gone_on_with_where_it_is_known(tmp_path: Path) -> None:
    """Told what standard output took last, a source goes on with the next frame; with all if that was nothing."""
    key = FrameKey("door", 5)
    frame = Frame(key, 0, 0, Fraction(1, 30), 0.0, 0.0, 64, 48, None)
    known, new = JsonlSink(JsonlSettings(Path("-"))), JsonlSink(JsonlSettings(Path("-")))
    known.note_taken({"run": "k3f9", "source": "door", "n": 5, "epoch": 0, "seq": 5})
    new.note_taken(None)

    held = known.resume("door", 0.0)
    assert (held.lacks(frame, 0), held.next_seq) == (False, 6)
    assert new.resume("door", 0.0).lacks(frame, 0)


def test_a_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    """After SIGKILL every line that was written is there and whole."""
    path = tmp_path / "out.jsonl"
    with subprocess.Popen(  # noqa: S603  # this test's own script
        [sys.executable, "-c", SCRIPT, str(path), "100"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(100)]
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert told[-1] == b"99\n"
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()] == list(range(100))
