"""What a publisher remembers of all its sources, in memory and, where that is asked for, on disk."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from posestream.pipeline.publish.disk_log import DiskLog
from posestream.pipeline.publish.log import Entry, LogLimits, ReplayLog
from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.output.sink import make_folder, output_errors

__all__ = ["History"]

_log = logging.getLogger(__name__)

#: The file whose lock says that a head writes here, named as no source can be; and how it was named before.
_LOCK, _OLD_LOCK = "~lock", "lock"
#: What a source may be called, and so the folder of its log.
_NAME = re.compile(r"[a-z0-9_.-]+")


class History:
    """The log of each source. Each method is called by the publisher's thread, after the constructor.

    Args:
        limits: of each source's log.
        folder: where the logs outlive this process, each source's in a folder of its own; None: in memory alone.

    Raises:
        SettingsError: another head writes there.
        OutputError: what is there cannot be read.
    """

    def __init__(self, limits: LogLimits, folder: Path | None) -> None:
        self._limits = limits
        self._folder = folder
        self._logs: dict[str, ReplayLog] = {}
        self._disk: dict[str, DiskLog] = {}
        self._lock: FileLock | None = None
        #: What kept a source's log from being written; it goes on in memory, and those of others on disk.
        self.errors: dict[str, OutputError] = {}
        if folder is not None:
            make_folder(folder)
            self._lock = _locked(folder)
            for path in sorted(folder.iterdir()):
                if path.is_dir() and _NAME.fullmatch(path.name):
                    self._read(path.name, DiskLog(path, limits))

    def __repr__(self) -> str:
        return f"<History of {len(self._logs)} sources in {self._folder or 'memory'}>"

    @property
    def logs(self) -> Mapping[str, ReplayLog]:
        """The log of each source."""
        return self._logs

    def last(self, source: str) -> Entry | None:
        """Give a source's last message."""
        log = self._logs.get(source)
        return None if log is None else log.last

    def add(self, source: str, entry: Entry) -> bool:
        """Hold a message; False if it was published before."""
        log = self._logs.get(source)
        if log is None:
            log = self._logs[source] = ReplayLog(self._limits)
        if not log.add(entry):
            return False
        if self._folder is not None and source not in self.errors:
            self._write(source, entry, self._folder)
        return True

    def end(self, source: str) -> None:
        """Close a source's file: its lane has ended, and what comes of it later begins a new one."""
        disk = self._disk.get(source)
        if disk is not None:
            disk.close()

    def forget(self, source: str) -> bool:
        """Keep nothing of a source that has gone, if all of its messages are too old; False where they are not yet."""
        if len(self._logs.get(source, ())):
            return False
        self.end(source)
        self._logs.pop(source, None)
        self._disk.pop(source, None)
        return True

    def expire(self, now_s: float) -> None:
        """Drop what is too old."""
        for log in self._logs.values():
            log.expire(now_s)

    def close(self) -> None:
        """Close every file; closing again does nothing."""
        for disk in self._disk.values():
            disk.close()
        if self._lock is not None:
            self._lock.release()

    def _read(self, source: str, disk: DiskLog) -> None:
        log = self._logs[source] = ReplayLog(self._limits)
        self._disk[source] = disk
        for entry in disk.read(log.note_loss):
            log.add(entry)

    def _write(self, source: str, entry: Entry, folder: Path) -> None:
        disk = self._disk.setdefault(source, DiskLog(folder / source, self._limits))
        try:
            disk.write(entry)
        except OutputError as error:
            _log.error("%s; messages of %s can be had again only until this process ends", error, source)
            self.errors[source] = error


def _locked(folder: Path) -> FileLock:
    # Not of one thread: the publisher's gives it back.
    lock = FileLock(folder / _LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise SettingsError(f"publish.log_folder {folder}: another run writes there; give another folder") from error
    old = folder / _OLD_LOCK
    if old.is_file() and not old.stat().st_size:
        # A source of that name could have no folder beside it.
        with output_errors(old):
            old.unlink()
    return lock
