"""The file that FFmpeg writes into, with nothing held back and no failure forgotten."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from posestream.stages.output.sink import write_whole

__all__ = ["MediaFile"]


class MediaFile:
    """A new file that goes to the system with every write, and that remembers its first failure.

    FFmpeg itself takes a file whose end could not be written for a finished one.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._path = path
        self._raw = path.open("wb", buffering=0)

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        try:
            write_whole(self._raw.fileno(), data)
        except OSError as error:
            self.error = self.error or error
            raise
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as `io.RawIOBase.seek` does."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """Tell the place."""
        return self._raw.tell()

    def check(self) -> None:
        """Raise the first failure there was, if any.

        Raises:
            OSError: something could not be written.
        """
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Close the file; closing again does nothing."""
        self._raw.close()

    def remove(self) -> None:
        """Remove the closed file again, where it is one (and not a device)."""
        with suppress(OSError):
            if self._path.is_file():
                self._path.unlink()
