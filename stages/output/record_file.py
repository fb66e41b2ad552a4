"""A file of records that is whole at every moment: each write is one, and one that fails leaves nothing of itself."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from posestream.stages.output.sink import make_folder, output_errors

__all__ = ["RecordFile"]


class RecordFile:
    """Appends records before an ending that the file always has.

    Args:
        path: the file; it and its folder are created where missing.
        begin: what a new file begins with.
        end: what it always ends with, such as the bracket of an array.
        keep: bytes of a file of an earlier process that stay, its ending left out; None: it is begun anew.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, begin: bytes, end: bytes = b"", keep: int | None = None) -> None:
        self._path = path
        self._end = end
        make_folder(path.parent)
        with output_errors(path):
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(path, flags if keep is not None else flags | os.O_TRUNC, 0o666)
        try:
            with output_errors(path):
                #: Where the next record goes.
                self._place = 0 if keep is None else keep
                self._put(b"" if keep else begin)
                os.ftruncate(self._descriptor, self._place + len(end))
        except BaseException:
            self.close()
            raise

    def append(self, record: bytes) -> None:
        """Write a record.

        Raises:
            OutputError: it could not be written; the file is as it was before.
        """
        with output_errors(self._path):
            try:
                self._put(record)
            except OSError:
                # A full disk takes half a record; the ending was there before, so that it has room.
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._place)
                    os.pwrite(self._descriptor, self._end, self._place)
                raise

    def close(self) -> None:
        """Close the file."""
        with output_errors(self._path):
            os.close(self._descriptor)

    def _put(self, record: bytes) -> None:
        data = record + self._end
        written = os.pwrite(self._descriptor, data, self._place)
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self._place + written)
        self._place += len(record)
