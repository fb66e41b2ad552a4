"""A folder of engines that TensorRT compiled: one process builds in it at a time, and what is damaged is built anew."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from posestream.models.errors import EngineError

__all__ = ["EngineFolder"]

BuiltT = TypeVar("BuiltT")

#: Longest wait for another process that compiles the same engine, in seconds; TensorRT takes minutes.
_PATIENCE_S = 1800.0
#: What ONNX Runtime says of a compiled engine that it cannot use.
_UNREADABLE = "deserialize"

_log = logging.getLogger(__name__)


class EngineFolder:
    """Keeps the engines of one network, GPU, precision and shape between runs.

    Args:
        path: the folder; it need not exist yet.
        patience_s: how long to wait for another process that builds in it.
    """

    def __init__(self, path: Path, patience_s: float = _PATIENCE_S) -> None:
        self.path = path
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return f"EngineFolder({self.path})"

    def built(self, build: Callable[[], BuiltT]) -> BuiltT:
        """Give what `build` gives, which reads the folder or writes to it while no other process does.

        Where it says that an engine that is kept cannot be read (a run was killed while it was written, say), the
        folder is emptied and `build` called once more.

        Raises:
            EngineError: the folder cannot be written to, or another process is building for too long.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=self._patience_s):
                return self._read_or_built(build)
        except Timeout as error:
            raise EngineError(
                f"another process has been compiling in {self.path} for {self._patience_s:g} s"
            ) from error
        except OSError as error:
            raise EngineError(f"cannot write to {self.path} ({error.strerror or error}): free space") from error

    def _read_or_built(self, build: Callable[[], BuiltT]) -> BuiltT:
        is_kept = any(self.path.iterdir())
        try:
            return build()
        except Exception as error:  # it is raised again but for one reason, whatever class tells that
            if not is_kept or _UNREADABLE not in f"{error} {error.__cause__}".lower():
                raise
            _log.warning("the engine in %s cannot be read and is compiled anew: %s", self.path, error)
        shutil.rmtree(self.path)
        self.path.mkdir()
        return build()
