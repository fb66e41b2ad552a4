"""What a JSONL file of an earlier process holds, after its unfinished end was cut off."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

from posestream.stages.errors import OutputError
from posestream.stages.items import Reason
from posestream.stages.message import VERSION, Message
from posestream.stages.output.lines_backwards import lines_backwards
from posestream.stages.output.sink import output_errors

__all__ = ["cut_to_last_message"]

#: How each line begins, as far as it goes: what begins otherwise is not ours to cut.
_BEGINNING = f'{{"v":{VERSION},"type":"'.encode()
#: Lines at the end that a dying process or system may have spoilt: an unfinished one, and one before it.
_MOST_SPOILT = 2
#: Lines from the end among which some may tell of frames that were stopped: more than are in flight at a time.
_MOST_STOPPED = 1024
#: Bytes that are read at once to count lines.
_BLOCK_BYTES = 1 << 20
#: What is read of each message.
_KEYS: tuple[tuple[str, type], ...] = (("run", str), ("source", str), ("n", int), ("epoch", int), ("seq", int))


def cut_to_last_message(path: Path, source: str) -> Message | None:
    """Cut off what no whole line tells, and frames that were stopped; give the last message that is left, if any.

    Of the lines before it is checked: those of the last frames in flight are messages of this source whose `n` goes up
    by one, and between the first line and the last one there are as many as their `n` tell. Where a live source was
    gone on with, its `epoch` is another one, and its `n` may have gone on further.

    Raises:
        OutputError: the file cannot be read or cut, or holds something else than messages of this source.
    """
    with output_errors(path), path.open("r+b") as file:
        end, last = _held(file, path, source)
        if last is not None:
            _check_count(file, path, end, last)
        file.truncate(end)
    return last


def _held(file: BinaryIO, path: Path, source: str) -> tuple[int, Message | None]:
    """Give where the lines to keep end, and the last message in them."""
    file.seek(0)
    beginning = file.read(len(_BEGINNING))
    if not _BEGINNING.startswith(beginning):
        raise _not_ours(path, "it does not hold messages")
    end, last = file.seek(0, os.SEEK_END), None
    after: Message | None = None
    seen = spoilt = 0
    for begin, line in lines_backwards(file):
        message = _message(line)
        if message is None:
            spoilt += 1
            if seen or spoilt > _MOST_SPOILT:
                raise _not_ours(path, f"the line at byte {begin} is no message")
            end = begin
            continue
        if message["source"] != source:
            raise _not_ours(path, f"it holds the messages of {message['source']!r}, not of {source!r}")
        if after is not None and after["epoch"] == message["epoch"] and after["n"] != message["n"] + 1:
            raise _not_ours(path, f"message {message['n']} is followed by {after['n']} at byte {begin + len(line)}")
        after = message
        seen += 1
        if message.get("reason") == Reason.STOPPED:
            end, last = begin, None
        elif last is None:
            last = message
        if seen >= _MOST_STOPPED:
            break
    return end, last


def _check_count(file: BinaryIO, path: Path, end: int, last: Message) -> None:
    """Raise where a line is missing, or there twice, that is too far from the end to be read."""
    file.seek(0)
    first = _message(file.readline())
    if first is None:
        raise _not_ours(path, "its first line is no message")
    if first["epoch"] != last["epoch"]:
        return
    file.seek(0)
    lines, left = 0, end
    while block := file.read(min(left, _BLOCK_BYTES)):
        lines += block.count(b"\n")
        left -= len(block)
    told = last["n"] - first["n"] + 1
    if lines != told:
        raise _not_ours(path, f"from message {first['n']} to {last['n']} it has {lines} lines, not {told}")


def _message(line: bytes) -> Message | None:
    """Read a whole line's message; None where it is none."""
    try:
        message = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    is_ours = isinstance(message, dict) and all(isinstance(message.get(key), kind) for key, kind in _KEYS)
    return message if is_ours else None


def _not_ours(path: Path, why: str) -> OutputError:
    return OutputError(f"cannot go on with {path}: {why}; give another path or replace it (--overwrite)")
