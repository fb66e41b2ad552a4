"""Records what a subscriber receives as JSONL, and goes on with a file where its last messages end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posestream.pipeline.client.places import Place, read_places, write_note
from posestream.stages.errors import OutputError
from posestream.stages.message import json_line
from posestream.stages.output.sink import append_whole, make_folder, output_errors

__all__ = ["Recording"]

#: Lines after which it is noted where each source's messages end: so many are read at most by who goes on.
_NOTED_LINES = 20_000


class Recording:
    """Appends messages of any sources to a file, one write per line.

    An unfinished last line, which a kill may have left, is cut off first. Beside the file lies `.NAME.places`, which
    spares whoever goes on to read all of it; without it all is read.

    Raises:
        OutputError: the file cannot be written, or holds something else than messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = 0
        make_folder(path.parent)
        if path.is_fifo():
            raise OutputError(f"cannot go on with {path}: it is a pipe, which keeps nothing; give the path of a file")
        with output_errors(path):
            # Append mode, so that what somebody else cuts off never leaves a hole of zeros.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            with output_errors(path), os.fdopen(os.dup(self._descriptor), "rb") as file:
                self._places = read_places(file, path, self._descriptor)
        except OutputError:
            self._close_file()
            raise
        #: Of each source, the run and number of the last message in the file as it was found.
        self.after: Mapping[str, Place] = dict(self._places)

    def __repr__(self) -> str:
        return f"<Recording {self._path} after {self.after}>"

    def write(self, message: Mapping[str, Any]) -> None:
        """Write one message.

        Raises:
            OutputError: it could not be written.
        """
        with output_errors(self._path):
            append_whole(self._descriptor, json_line(dict(message)))
        self._places[message["source"]] = (message["run"], message["n"])
        self._lines += 1
        if self._lines % _NOTED_LINES == 0:
            write_note(self._path, self._descriptor, self._places)

    def close(self) -> None:
        """Close the file."""
        try:
            if self._places:
                write_note(self._path, self._descriptor, self._places)
        finally:
            self._close_file()

    def _close_file(self) -> None:
        with output_errors(self._path):
            os.close(self._descriptor)
