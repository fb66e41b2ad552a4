"""What a run writes is its own until it ends: a lock beside each output keeps other runs from writing it too."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.output.sink import make_folder

__all__ = ["Claims"]

_log = logging.getLogger(__name__)


class Claims:
    """Locks outputs, which may not be there yet: two runs that begin together would both find them free.

    The system frees the locks however the process ends.

    Args:
        paths: the files and folders that are written.

    Raises:
        SettingsError: another run writes one of them.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        with ExitStack() as undo:
            for path in paths:
                _claim(path, undo)
            self._held = undo.pop_all()

    def release(self) -> None:
        """Let others write them; releasing again does nothing."""
        self._held.close()


def _claim(path: Path, held: ExitStack) -> None:
    file = path.with_name(f".{path.name}.lock")
    # Not of one thread: whoever iterates over results may end the run in another one.
    lock = FileLock(file, timeout=0, thread_local=False)
    try:
        make_folder(path.parent)
        lock.acquire()
    except Timeout as error:
        raise SettingsError(f"output {path}: another run writes it; wait for its end, or give another path") from error
    except (OutputError, OSError, NotImplementedError) as error:
        # There are file systems without locks; what cannot be written at all, the output will tell.
        _log.debug("%s is not locked: %s", path, error)
        return
    held.callback(_release, lock, file)


def _release(lock: FileLock, file: Path) -> None:
    # Removed while it is locked, so that the file of another run is never taken away.
    with suppress(OSError):
        file.unlink(missing_ok=True)
    lock.release()
