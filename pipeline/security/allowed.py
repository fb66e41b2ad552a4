"""The list of clients that may connect: public keys in files, which may be added and removed while a head runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from posestream.pipeline.security.keys import PUBLIC_ENDING, read_public
from posestream.stages.errors import SettingsError

__all__ = ["Allowed", "AllowedFiles", "Everybody", "allowed_of"]

_log = logging.getLogger(__name__)


class Allowed(Protocol):
    """Who may connect."""

    def allows(self, public: bytes) -> bool:
        """True if the client with this public key (Z85) may."""


class Everybody:
    """Whoever knows the head's public key may connect."""

    def allows(self, public: bytes) -> bool:  # noqa: ARG002 - whoever it is
        """True."""
        return True


class AllowedFiles:
    """Those whose public keys lie in a folder, as `*.key`, or in one file.

    It is looked at again when somebody connects and something has changed; who is connected already stays so.

    Raises:
        SettingsError: it is not there, or a file in it holds no public key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise SettingsError(f"allowed clients {path}: there is no such file or folder")
        self._state = self._look()
        self._keys = frozenset(read_public(file) for file in self._files())

    def __repr__(self) -> str:
        return f"<AllowedFiles {self._path}, {len(self._keys)} keys>"

    def allows(self, public: bytes) -> bool:
        """True if a file holds this key."""
        state = self._look()
        if state != self._state:
            self._state, self._keys = state, self._read()
        return public in self._keys

    def _files(self) -> list[Path]:
        return sorted(self._path.glob(f"*{PUBLIC_ENDING}")) if self._path.is_dir() else [self._path]

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        """Give what tells that a file was added, removed or changed."""
        try:
            stats = [(file.name, file.stat()) for file in self._files()]
        except OSError:
            return ()
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)

    def _read(self) -> frozenset[bytes]:
        """Read the keys anew; a file that cannot be read allows nobody and keeps nobody else out."""
        keys = set()
        try:
            files = self._files()
        except OSError as error:
            _log.warning("allowed clients %s cannot be read: %s; nobody is let in until it can", self._path, error)
            return frozenset()
        for file in files:
            try:
                keys.add(read_public(file))
            except SettingsError as error:
                _log.warning("%s; nobody is allowed by it", error)
        return frozenset(keys)


def allowed_of(path: Path | None) -> Allowed:
    """Give who may connect: those of a path, or without one whoever knows the head's key.

    Raises:
        SettingsError: the path is not there, or a file in it holds no public key.
    """
    return Everybody() if path is None else AllowedFiles(path)
