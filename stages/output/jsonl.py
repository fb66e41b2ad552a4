"""Messages as a JSONL file: one object per line, one write per line."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posestream.stages.errors import OutputError
from posestream.stages.items import Frame
from posestream.stages.message import json_line
from posestream.stages.output.held import Held, lacks_all, was_written_since
from posestream.stages.output.jsonl_held import cut_to_last_message
from posestream.stages.output.sink import Ended, make_folder, output_errors, write_whole

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["STANDARD_OUTPUT", "JsonlSettings", "JsonlSink"]

#: The path that stands for standard output.
STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class JsonlSettings:
    """Where the lines go; the path "-" is standard output."""

    path: Path

    @property
    def is_standard_output(self) -> bool:
        """True if the lines go to standard output."""
        return str(self.path) == STANDARD_OUTPUT


class JsonlSink:
    """Writes each message as one line, at once: a killed process leaves at most an unfinished last line.

    Nothing is held back, so a reader that follows the file sees each frame as it ends.
    """

    def __init__(self, settings: JsonlSettings) -> None:
        self._settings = settings
        self._descriptor: int | None = None
        self._goes_on = False
        #: Frames with smaller numbers are held.
        self._next_seq = 0

    @property
    def name(self) -> str:
        """The file, as people call it."""
        return "standard output" if self._settings.is_standard_output else f"jsonl {self._settings.path}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file; nothing for standard output."""
        return () if self._settings.is_standard_output else (self._settings.path,)

    def resume(self, source: str, since_s: float) -> Held:
        """Cut off what a killed process left unfinished, and go on after the last line.

        Raises:
            OutputError: it is standard output, or the file holds something else than messages of this source.
        """
        if self._settings.is_standard_output:
            raise OutputError("cannot go on with standard output: what it took is gone; write the lines to a file")
        self._goes_on = was_written_since(self._settings.path, since_s)
        last = cut_to_last_message(self._settings.path, source) if self._goes_on else None
        if last is None:
            return Held(lacks_all)
        self._next_seq = last["seq"] + 1
        return Held(self._lacks, self._next_seq, last)

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002  # the lines tell all there is to tell
        """Create the file anew, unless it is gone on with, and its folder where missing.

        Raises:
            OutputError: the file cannot be created.
        """
        path = self._settings.path
        if self._settings.is_standard_output:
            with output_errors(self.name):
                # A descriptor of its own: closing it leaves the process its standard output.
                self._descriptor = os.dup(sys.__stdout__.fileno() if sys.__stdout__ else 1)
            return
        make_folder(path.parent)
        with output_errors(path):
            # Append mode, so that what somebody else adds or cuts off never leaves a hole of zeros.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(path, flags if self._goes_on else flags | os.O_TRUNC, 0o666)

    def write(self, ended: Ended) -> None:
        """Write one line, unless it is there.

        Raises:
            OutputError: the line could not be written.
        """
        if self._descriptor is None:
            raise ValueError("JsonlSink.write before open or after close")
        if self._goes_on and ended.frame.key.seq < self._next_seq:
            return
        with output_errors(self.name if self._settings.is_standard_output else self._settings.path):
            write_whole(self._descriptor, json_line(ended.message))

    def close(self) -> None:
        """Close the file; closing again does nothing.

        Raises:
            OutputError: the system reports a late failure (a network drive does so only now).
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with output_errors(self._settings.path):
                os.close(descriptor)

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:  # noqa: ARG002  # every frame has a line
        """True for a frame after the last line."""
        return frame.key.seq >= self._next_seq
