"""Where the messages of each source in a recording end: read from its end, as far back as a note beside it says."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from posestream.stages.errors import OutputError
from posestream.stages.message import VERSION
from posestream.stages.output.lines_backwards import lines_backwards
from posestream.stages.output.sink import output_errors

__all__ = ["Place", "read_places", "write_note"]

#: A run, and the number of a message in it.
Place = tuple[str, int]

#: How each line begins: what begins otherwise is not ours to go on with.
_BEGINNING = f'{{"v":{VERSION},"type":"'.encode()
#: What tells a message's place where it is written as we write it: much faster than to read the whole line.
_PLACE = re.compile(rb'\{"v":\d+,"type":"[a-z]+","run":"([^"\\]+)","source":"([a-z0-9_.-]+)","n":(\d+),')
#: Bytes before the noted end whose checksum says that this is still the file which the note was made of.
_CHECKED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of a file's first bytes."""

    bytes: int = 0
    places: Mapping[str, Place] = field(default_factory=dict)


def read_places(file: BinaryIO, path: Path, descriptor: int) -> dict[str, Place]:
    """Cut off an unfinished last line, and give the last place of each source.

    Raises:
        OutputError: the file holds something else than messages.
    """
    if not _BEGINNING.startswith(file.read(len(_BEGINNING))):
        raise OutputError(f"cannot go on with {path}: it does not hold messages; give another path")
    note = _read_note(file, path)
    places: dict[str, Place] = {}
    for number, (begin, line) in enumerate(lines_backwards(file)):
        if begin < note.bytes:
            break
        if number == 0 and not line.endswith(b"\n"):
            os.ftruncate(descriptor, begin)
            continue
        try:
            source, place = _place(line)
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"cannot go on with {path}: the line at byte {begin} is no message") from error
        places.setdefault(source, place)
    return {**note.places, **places}


def write_note(path: Path, descriptor: int, places: Mapping[str, Place]) -> None:
    """Note where each source's messages end, so that nobody has to read what is there by now; of a file only.

    Raises:
        OutputError: it could not be written.
    """
    if not path.is_file():
        return
    with output_errors(path), os.fdopen(os.dup(descriptor), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        told = {"bytes": size, "checksum": _checksum(file, size), "places": places}
        new = _note_path(path).with_suffix(".new")
        try:
            new.write_text(json.dumps(told), "utf-8")
            new.replace(_note_path(path))
        except OSError:
            new.unlink(missing_ok=True)
            raise


def _read_note(file: BinaryIO, path: Path) -> _Note:
    """Read the note; one of another file, or of one that was cut since, tells nothing."""
    try:
        told = json.loads(_note_path(path).read_bytes())
        places = {str(source): (str(run), int(n)) for source, (run, n) in told["places"].items()}
        if told["checksum"] == _checksum(file, int(told["bytes"])):
            return _Note(int(told["bytes"]), places)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # without one the whole file is read
    return _Note()


def _checksum(file: BinaryIO, end: int) -> list[int]:
    """Sum up what stands before a place, and how much of it is there."""
    begin = max(0, end - _CHECKED_BYTES)
    file.seek(begin)
    data = file.read(end - begin)
    return [len(data), zlib.crc32(data)]


def _place(line: bytes) -> tuple[str, Place]:
    found = _PLACE.match(line)
    # A file of messages has whole ones: the rest of a line is looked at where it ends only.
    if found is not None and line.endswith(b"}\n"):
        run, source, n = found.groups()
        return source.decode(), (run.decode(), int(n))
    message = json.loads(line)
    return str(message["source"]), (str(message["run"]), int(message["n"]))


def _note_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.places")
