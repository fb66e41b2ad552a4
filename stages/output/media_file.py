"""The file that FFmpeg writes into, with nothing held back, no failure forgotten, and no name before it plays."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from posestream.stages.output.sink import write_whole

__all__ = ["MediaFile"]


class MediaFile:
    """A new file that goes to the system with every write, and that remembers its first failure.

    FFmpeg itself takes a file whose end could not be written for a finished one.

    Until `show` is called the file is a hidden one beside its place, so that a kill never leaves one that no player
    opens; a file that stood there is gone from the beginning on. Devices and pipes are written as they are.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._path = path.resolve()
        self._hidden: Path | None = None
        self._is_empty = True
        # Windows gives no other name to a file that is open.
        if os.name != "nt" and (self._path.is_file() or not self._path.exists()):
            # Opened once, so that a file that may not be written is known at once.
            self._path.open("wb").close()
            self._path.unlink()
            self._hidden = self._path.with_name(f".{self._path.name}.part")
        self._raw = (self._hidden or self._path).open("wb", buffering=0)

    def write(self, data: bytes) -> int:
        """Write all of the data; after a failure nothing more is written, so that what is torn stays the file's end."""
        self.check()
        self._is_empty = False
        try:
            write_whole(self._raw.fileno(), data)
        except OSError as error:
            self.error = error
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

    def show(self) -> None:
        """Give the file its name, unless nothing is in it yet.

        Raises:
            OSError: it cannot have that name.
        """
        if self._hidden is not None and not self._is_empty:
            self._hidden.replace(self._path)
            self._hidden = None

    def close(self) -> None:
        """Close the file, and remove it where it never got its name; closing again does nothing."""
        self._raw.close()
        if self._hidden is not None:
            self._hidden.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the closed file again, where it is one (and not a device)."""
        with suppress(OSError):
            if self._path.is_file():
                self._path.unlink()
