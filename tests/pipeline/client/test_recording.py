"""Recordings of what a subscriber receives, and going on with them."""

from __future__ import annotations

import errno
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from posestream.pipeline.client import recording
from posestream.pipeline.client.recording import Recording
from posestream.stages.errors import OutputError
from posestream.stages.message import json_line

from ...stages.output.test_jsonl import fill_up  # noqa: TID252 — tests are no package


def message(source: str, n: int, run: str = "a", **more: Any) -> dict[str, Any]:
    """Make what a recording looks at of a message."""
    return {"v": 1, "type": "drop", "run": run, "source": source, "n": n, **more, "stage": "decode", "reason": "x"}


def recorded(path: Path, *messages: dict[str, Any]) -> None:
    """Record messages."""
    made = Recording(path)
    for one in messages:
        made.write(one)
    made.close()


def after(path: Path) -> dict[str, tuple[str, int]]:
    """Go on with a recording, and give where each source's messages end."""
    with closing(Recording(path)) as found:
        return dict(found.after)


@pytest.mark.parametrize("has_note", [True, False])
def test_a_source_that_was_long_silent_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_note: bool
) -> None:
    """However many lines of others come after a source's last one, that one is known, with the note beside or without.

    Else whatever the publisher still has of that source would be recorded a second time.
    """
    monkeypatch.setattr(recording, "_NOTED_LINES", 7)
    path = tmp_path / "heard.jsonl"
    path.write_bytes(json_line(message("yard", 5)) + b"".join(json_line(message("door", n)) for n in range(25_000)))
    recorded(path, *(message("door", n) for n in range(25_000, 25_010)))
    if not has_note:
        (tmp_path / ".heard.jsonl.places").unlink()
    assert after(path) == {"yard": ("a", 5), "door": ("a", 25_009)}


def test_what_a_kill_left_after_the_note_is_read(tmp_path: Path) -> None:
    """Lines after those noted are counted in, an unfinished one is cut off, and so are lines that the note knew."""
    path = tmp_path / "heard.jsonl"
    recorded(path, message("yard", 0), message("door", 0))
    whole = path.read_bytes()
    path.write_bytes(whole + json_line(message("door", 1)) + json_line(message("yard", 1))[:-9])
    assert after(path) == {"yard": ("a", 0), "door": ("a", 1)}
    assert path.read_bytes() == whole + json_line(message("door", 1))
    path.write_bytes(json_line(message("door", 0, run="b")))
    assert after(path) == {"door": ("b", 0)}


def test_the_note_spares_reading_what_is_known(tmp_path: Path) -> None:
    """What stands before the noted end is not read again: a file of months is gone on with at once."""
    path = tmp_path / "heard.jsonl"
    recorded(path, *(message("door", n) for n in range(200)))
    data = bytearray(path.read_bytes())
    data[200:210] = b"no message"
    path.write_bytes(data)
    assert after(path) == {"door": ("a", 199)}
    (tmp_path / ".heard.jsonl.places").write_text("[]")
    with pytest.raises(OutputError, match="is no message"):
        Recording(path)


def test_lines_of_another_writer_are_read_too(tmp_path: Path) -> None:
    """JSON with other spaces or further keys is a message all the same; what is none is refused."""
    path = tmp_path / "heard.jsonl"
    path.write_bytes(b'{"v":1,"type":"drop", "run": "a", "source": "door", "n": 3}\n')
    assert after(path) == {"door": ("a", 3)}
    path.write_text(json.dumps({"what": 5}) + "\n")
    with pytest.raises(OutputError, match="does not hold messages"):
        Recording(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """What keeps nothing cannot be gone on with; to read it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="it is a pipe"):
        Recording(tmp_path / "pipe")


def test_a_full_disk_leaves_whole_lines_and_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the line that did not fit nothing stays, and neither does a note that could not be written."""
    path = tmp_path / "heard.jsonl"
    made = Recording(path)
    made.write(message("door", 0))
    whole = path.read_bytes()
    fill_up(monkeypatch)
    with pytest.raises(OutputError, match="No space left on device"):
        made.write(message("door", 1))
    assert path.read_bytes() == whole

    def write_text(path: Path, *_: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OutputError, match="No space left on device"):
        made.close()
    assert list(tmp_path.iterdir()) == [path]
