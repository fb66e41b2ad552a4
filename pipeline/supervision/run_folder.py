"""The folder of a run's ipc sockets: nobody else may enter it, and it never outlives the run for long."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["CONTROL_SOCKET", "RunFolder", "control_addresses", "sweep"]

#: What each folder's name begins with; a path of an ipc socket has 107 bytes at most, so it is short.
_PREFIX = "posestream-"
#: The file whose lock says that the run is alive; the system frees it however the process ends.
_LOCK = "lock"
#: The file of the socket at which a run is asked about its sources.
CONTROL_SOCKET = "control"


def _base() -> Path:
    """Give the folder in which the runs' folders lie."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())


def sweep(base: Path | None = None) -> list[Path]:
    """Remove the folders of runs that are no more, and give their paths."""
    swept = []
    for folder in (base or _base()).glob(f"{_PREFIX}*"):
        if not folder.is_dir() or folder.stat().st_uid != os.getuid() or not (folder / _LOCK).exists():
            continue
        lock = FileLock(folder / _LOCK, timeout=0)
        with contextlib.suppress(Timeout, OSError), lock:
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
    return swept


def control_addresses(base: Path | None = None) -> list[str]:
    """Give where this user's runs are asked about their sources."""
    sweep(base)
    sockets = sorted((base or _base()).glob(f"{_PREFIX}*/{CONTROL_SOCKET}"))
    return [f"ipc://{socket}" for socket in sockets if socket.is_socket() and socket.stat().st_uid == os.getuid()]


class RunFolder:
    """A folder (mode 0700) that is this run's as long as it lives."""

    def __init__(self, base: Path | None = None) -> None:
        begun = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=base or _base()))
        self._lock = FileLock(begun / _LOCK)
        self._lock.acquire()
        # Under this name only now: a run that sweeps would take a file that is not locked yet for a dead run's.
        self.path = begun.rename(begun.with_name(begun.name.removeprefix(".")))

    def __repr__(self) -> str:
        return f"<RunFolder {self.path}>"

    def remove(self) -> None:
        """Remove it and what is in it; removing it again does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
