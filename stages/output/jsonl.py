"""Messages as a JSONL file: one object per line, one write per line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from posestream.stages.errors import OutputError
from posestream.stages.items import Frame
from posestream.stages.message import Message, json_line
from posestream.stages.output.held import Held, lacks_all, was_written_since
from posestream.stages.output.jsonl_held import cut_to_last_message
from posestream.stages.output.sink import Ended, append_whole, make_folder, output_errors
from posestream.stages.output.standard_output import StandardOutput

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["STANDARD_OUTPUT", "JsonlSettings", "JsonlSink", "is_standard_output"]

#: The path that stands for standard output.
STANDARD_OUTPUT = "-"
#: The system's own names of it. Opened as a file each would have a place of its own there, over what others write.
_OTHER_NAMES = frozenset({"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


def is_standard_output(path: Path) -> bool:
    """True for every name that standard output has."""
    return str(path) == STANDARD_OUTPUT or str(path) in _OTHER_NAMES


@dataclass(frozen=True, slots=True)
class JsonlSettings:
    """Where the lines go; the path "-" is standard output, as the system's names of it are."""

    path: Path

    def __post_init__(self) -> None:
        """Take all names of standard output for one."""
        if is_standard_output(self.path):
            object.__setattr__(self, "path", Path(STANDARD_OUTPUT))

    @property
    def is_standard_output(self) -> bool:
        """True if the lines go to standard output."""
        return str(self.path) == STANDARD_OUTPUT


class _Lines(Protocol):
    def write(self, lines: bytes) -> None: ...
    def close(self) -> None: ...


class _File:
    """An open file that takes each line in one system call, and of one that does not fit nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, lines: bytes) -> None:
        append_whole(self._descriptor, lines)

    def close(self) -> None:
        os.close(self._descriptor)


class JsonlSink:
    """Writes each message as one line, at once.

    A killed process leaves at most an unfinished last line, and a full disk none. Nothing is held back, so a reader
    that follows the file sees each frame as it ends.
    """

    def __init__(self, settings: JsonlSettings) -> None:
        self._settings = settings
        self._file: _Lines | None = None
        self._goes_on = False
        #: Frames with smaller numbers are held.
        self._next_seq = 0
        #: What standard output took last of the source: a message or None for nothing, in a tuple; empty: not known.
        self._taken: tuple[Message | None, ...] = ()

    @property
    def name(self) -> str:
        """The file, as people call it."""
        return "standard output" if self._settings.is_standard_output else f"jsonl {self._settings.path}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file; nothing for standard output."""
        return () if self._settings.is_standard_output else (self._settings.path,)

    def note_taken(self, last: Message | None) -> None:
        """Learn what standard output took last of this source (None: nothing), so that it can be gone on with."""
        self._taken = (last,)

    def resume(self, source: str, since_s: float) -> Held:
        """Cut off what a killed process left unfinished, and go on after the last line.

        Raises:
            OutputError: it is standard output and nobody knows what that took, or the file holds something else than
                messages of this source.
        """
        last = self._last_taken() if self._settings.is_standard_output else self._last_in_file(source, since_s)
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
                self._file = StandardOutput()
            return
        make_folder(path.parent)
        with output_errors(path):
            # Append mode, so that what somebody else adds or cuts off never leaves a hole of zeros.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._file = _File(os.open(path, flags if self._goes_on else flags | os.O_TRUNC, 0o666))

    def write(self, ended: Ended) -> None:
        """Write one line, unless it is there.

        Raises:
            OutputError: the line could not be written.
        """
        if self._file is None:
            raise ValueError("JsonlSink.write before open or after close")
        if self._goes_on and ended.frame.key.seq < self._next_seq:
            return
        with output_errors(self.name if self._settings.is_standard_output else self._settings.path):
            self._file.write(json_line(ended.message))

    def close(self) -> None:
        """Close the file; closing again does nothing.

        Raises:
            OutputError: the system reports a late failure (a network drive does so only now).
        """
        file, self._file = self._file, None
        if file is not None:
            with output_errors(self._settings.path):
                file.close()

    def _last_taken(self) -> Message | None:
        if not self._taken:
            raise OutputError("cannot go on with standard output: what it took is gone; write the lines to a file")
        self._goes_on = True
        return self._taken[0]

    def _last_in_file(self, source: str, since_s: float) -> Message | None:
        self._goes_on = was_written_since(self._settings.path, since_s)
        return cut_to_last_message(self._settings.path, source) if self._goes_on else None

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:  # noqa: ARG002  # every frame has a line
        """True for a frame after the last line."""
        return frame.key.seq >= self._next_seq
