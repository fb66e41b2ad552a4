"""Records what a subscriber receives as JSONL, and goes on with a file where its last messages end."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from posestream.stages.errors import OutputError
from posestream.stages.message import VERSION, json_line
from posestream.stages.output.lines_backwards import lines_backwards
from posestream.stages.output.sink import make_folder, output_errors, write_whole

__all__ = ["Recording"]

#: How each line begins: what begins otherwise is not ours to go on with.
_BEGINNING = f'{{"v":{VERSION},"type":"'.encode()
#: Lines from the end among which the last message of each source is looked for.
_MOST_LINES = 20_000


class Recording:
    """Appends messages of any sources to a file, one write per line.

    An unfinished last line, which a kill may have left, is cut off first.

    Raises:
        OutputError: the file cannot be written, or holds something else than messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        make_folder(path.parent)
        with output_errors(path):
            # Append mode, so that what somebody else cuts off never leaves a hole of zeros.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            with output_errors(path), os.fdopen(os.dup(self._descriptor), "rb") as file:
                #: Of each source, the run and number of the last message in the file.
                self.after = _last_places(file, path, self._descriptor)
        except OutputError:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Recording {self._path} after {self.after}>"

    def write(self, message: Mapping[str, Any]) -> None:
        """Write one message.

        Raises:
            OutputError: it could not be written.
        """
        with output_errors(self._path):
            write_whole(self._descriptor, json_line(dict(message)))

    def close(self) -> None:
        """Close the file."""
        with output_errors(self._path):
            os.close(self._descriptor)


def _last_places(file: BinaryIO, path: Path, descriptor: int) -> dict[str, tuple[str, int]]:
    """Cut off an unfinished last line, and give the last place of each source."""
    if not _BEGINNING.startswith(file.read(len(_BEGINNING))):
        raise OutputError(f"cannot go on with {path}: it does not hold messages; give another path")
    places: dict[str, tuple[str, int]] = {}
    for number, (begin, line) in enumerate(lines_backwards(file)):
        if number == 0 and not line.endswith(b"\n"):
            os.ftruncate(descriptor, begin)
            continue
        if number >= _MOST_LINES:
            break
        try:
            message = json.loads(line)
            places.setdefault(str(message["source"]), (str(message["run"]), int(message["n"])))
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"cannot go on with {path}: the line at byte {begin} is no message") from error
    return places
