"""The head, as one of its processes sees it: settings first, then a word now and then, then nothing."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from posestream.pipeline.errors import ExitCode

__all__ = ["Parent"]

#: How long a process may take to close its files after the head has gone, in seconds.
_GRACE_S = 5.0
#: Bytes that are read from the head at once.
_CHUNK_BYTES = 1 << 16


class Parent:
    """Reads the head's lines. When the head has gone, the work is stopped, and after a grace period the process."""

    def __init__(self, descriptor: int) -> None:
        self._lines = _lines(descriptor)

    def settings(self) -> dict[str, Any]:
        """Read what is to be done."""
        settings: dict[str, Any] = json.loads(next(self._lines, b"null")) or {}
        if not settings:
            raise SystemExit(ExitCode.BUG)
        return settings

    def watch(self, does: Mapping[bytes, Callable[[], None]], abort: Callable[[], None]) -> None:
        """Do what the head says, word for word, and call `abort` when it has gone."""
        threading.Thread(target=self._watch, args=(does, abort), name="parent", daemon=True).start()

    def _watch(self, does: Mapping[bytes, Callable[[], None]], abort: Callable[[], None]) -> None:
        for line in self._lines:
            if (do := does.get(line + b"\n")) is not None:
                do()
        abort()
        # What has not closed its files by then never will.
        threading.Event().wait(_GRACE_S)
        os._exit(ExitCode.BUG)


def _lines(descriptor: int) -> Iterator[bytes]:
    """Read lines without Python's buffered reader, whose lock a waiting thread would hold when the process ends."""
    rest = b""
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
