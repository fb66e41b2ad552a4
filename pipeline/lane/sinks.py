"""A lane's outputs under one rule: one that fails is reported and left out, the others go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from posestream.stages.errors import OutputError
from posestream.stages.source.opening import SourceInfo

__all__ = ["OutputFailures", "Sinks"]

_log = logging.getLogger(__name__)


class _AnySink(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def paths(self) -> tuple[Path, ...]: ...
    def open(self, info: SourceInfo) -> None: ...
    def close(self) -> None: ...


SinkT = TypeVar("SinkT", bound=_AnySink)


class OutputFailures:
    """What failed among all outputs of a lane; when none is left, `on_last` is called."""

    def __init__(self, outputs: int, on_last: Callable[[], None]) -> None:
        self._left = outputs
        # Outputs with pictures fail in another thread than those without.
        self._lock = threading.Lock()
        self._on_last = on_last
        self.errors: list[OutputError] = []

    def add(self, error: OutputError) -> None:
        """Note a failed output."""
        _log.error("%s; this output is left out from here on", error)
        self.errors.append(error)
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._on_last()


class Sinks(Generic[SinkT]):
    """Outputs of one thread. Each call goes to those that have not failed."""

    def __init__(self, sinks: Sequence[SinkT], failures: OutputFailures) -> None:
        self._all = tuple(sinks)
        self._working = list(sinks)
        self._failures = failures
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Sinks {[sink.name for sink in self._working]} of {len(self._all)}>"

    @property
    def all(self) -> tuple[SinkT, ...]:
        """Every output, the failed ones included."""
        return self._all

    @property
    def paths(self) -> tuple[Path, ...]:
        """What was written, the outputs that failed later included."""
        return tuple(path for sink in self._all for path in sink.paths)

    def open(self, info: SourceInfo) -> None:
        """Open every output; does nothing the second time."""
        if not self._is_open:
            self._is_open = True
            self._each(lambda sink: sink.open(info))

    def write(self, write: Callable[[SinkT], None]) -> None:
        """Let `write` give a frame to each output."""
        self._each(write)

    def close(self) -> None:
        """Close every output that was opened."""
        if self._is_open:
            self._each(lambda sink: sink.close())

    def _each(self, call: Callable[[SinkT], None]) -> None:
        for sink in tuple(self._working):
            try:
                call(sink)
            except OutputError as error:
                self._working.remove(sink)
                self._failures.add(error)
                self._close_failed(sink)

    def _close_failed(self, sink: _AnySink) -> None:
        """Let a failed output save what it can; that it fails again is no news."""
        try:
            sink.close()
        except OutputError as error:
            _log.debug("closing after a failure: %s", error)
        for path in sink.paths:
            # A file that not a byte could be written into would be taken for a result without anybody in it.
            with suppress(OSError):
                if path.is_file() and not path.stat().st_size:
                    path.unlink()
