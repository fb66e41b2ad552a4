"""A source's log on disk: records in files of bounded size, of which the oldest go; what a kill cut off is left out."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgpack

from posestream.pipeline.publish.log import Entry, LogLimits
from posestream.stages.output.sink import make_folder, output_errors, write_whole

__all__ = ["DiskLog"]

_log = logging.getLogger(__name__)

#: Before each message: its bytes, their CRC-32, and when it was published, in seconds since 1970.
_HEAD = struct.Struct("<IId")
#: A log is so many files at most, so that a bound on bytes is kept to an eighth.
_FILES = 8
#: Largest message that is believed, in bytes.
_MOST_BYTES = 64 << 20
_ENDING = ".log"


class DiskLog:
    """Appends a source's messages to files in a folder of its own, `00000001.log` and so on.

    Each record is one write, so that a process that is killed leaves at most an unfinished last one, which the next
    process leaves out. Nothing is synced: a log outlives processes, not the loss of power.
    """

    def __init__(self, folder: Path, limits: LogLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._descriptor: int | None = None
        self._file_bytes = 0
        self._sizes: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<DiskLog {self._folder}, {len(self._sizes)} files>"

    def read(self, on_loss: Callable[[], None] = lambda: None) -> Iterator[Entry]:
        """Give the messages that are there, the oldest first; what is damaged ends a file's.

        Args:
            on_loss: called between the messages where some were lost.

        Raises:
            OutputError: the files cannot be read.
        """
        with output_errors(self._folder):
            self._sizes = {number: self._path(number).stat().st_size for number in self._numbers()}
            for number in sorted(self._sizes):
                yield from _records(self._path(number), on_loss)

    def write(self, entry: Entry) -> None:
        """Append a message.

        Raises:
            OutputError: it could not be written; what came before is there, but at times for the very last one.
        """
        record = _HEAD.pack(len(entry.body), zlib.crc32(entry.body), entry.at_s) + entry.body
        with output_errors(self._folder):
            if self._descriptor is None or self._file_bytes >= self._limits.bytes // _FILES:
                self._begin_file()
            if self._descriptor is not None:
                self._append(self._descriptor, record)
            self._file_bytes += len(record)

    def close(self) -> None:
        """Close the present file; closing again does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._sizes[max(self._sizes)] = self._file_bytes
            os.close(descriptor)

    def _append(self, descriptor: int, record: bytes) -> None:
        """Write a record, or leave the file with an end that tells that one is missing."""
        try:
            write_whole(descriptor, record)
        except OSError:
            with suppress(OSError):
                if os.fstat(descriptor).st_size == self._file_bytes:
                    os.ftruncate(descriptor, max(0, self._file_bytes - 1))
            raise

    def _begin_file(self) -> None:
        """Go on in a new file, and remove those that are too much or too old."""
        number = max(self._sizes, default=0)
        self.close()
        self._remove_old()
        number += 1
        while self._path(number).is_dir():
            number += 1
        make_folder(self._folder)
        self._descriptor = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
        self._sizes[number], self._file_bytes = 0, 0

    def _remove_old(self) -> None:
        newest_s = max((self._path(number).stat().st_mtime for number in self._sizes), default=0.0)
        room = self._limits.bytes - self._limits.bytes // _FILES
        for number in sorted(self._sizes):
            path = self._path(number)
            is_old = path.stat().st_mtime < newest_s - self._limits.age_s
            if sum(self._sizes.values()) <= room and not is_old:
                return
            path.unlink()
            del self._sizes[number]

    def _numbers(self) -> list[int]:
        paths = self._folder.glob(f"*{_ENDING}") if self._folder.is_dir() else ()
        return sorted(int(path.stem) for path in paths if path.stem.isdecimal() and self._is_own(path))

    def _is_own(self, path: Path) -> bool:
        if path.is_dir():
            _log.warning("%s is a folder and no part of the log; it is left alone", path)
            return False
        return path == self._path(int(path.stem))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}{_ENDING}"


def _records(path: Path, on_loss: Callable[[], None]) -> Iterator[Entry]:
    """Read one file's records, up to the first that is cut off or damaged."""
    data = path.read_bytes()
    if not data:
        on_loss()  # its first record could not be written
    place = 0
    while place < len(data):
        entry = _record(data, place)
        if entry is None:
            _log.warning("%s is damaged or cut off at byte %d; what follows in it is left out", path, place)
            on_loss()
            return
        place += _HEAD.size + len(entry.body)
        yield entry


def _record(data: bytes, place: int) -> Entry | None:
    """Read the record at a place; None if there is none that was written as a whole."""
    if place + _HEAD.size > len(data):
        return None
    size, checksum, at_s = _HEAD.unpack_from(data, place)
    body = data[place + _HEAD.size : place + _HEAD.size + size]
    if not 0 < size <= _MOST_BYTES or len(body) < size or zlib.crc32(body) != checksum:
        return None
    try:
        message = msgpack.unpackb(body)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return None
    run, n = (message.get("run"), message.get("n")) if isinstance(message, dict) else (None, None)
    return Entry(run, n, at_s, body) if isinstance(run, str) and type(n) is int else None
