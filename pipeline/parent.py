"""The head, as one of its processes sees it: settings first, then a word now and then, then nothing."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from posestream.pipeline.errors import ExitCode
from posestream.pipeline.process import STOP

__all__ = ["Parent"]

#: How long a process may take to close its files after the head has gone, in seconds.
_GRACE_S = 5.0


class Parent:
    """Reads the head's lines. When the head has gone, the work is stopped, and after a grace period the process."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines

    def settings(self) -> dict[str, Any]:
        """Read what is to be done."""
        line = self._lines.readline()
        if not line:
            raise SystemExit(ExitCode.BUG)
        settings: dict[str, Any] = json.loads(line)
        return settings

    def watch(self, stop: Callable[[], None], abort: Callable[[], None]) -> None:
        """Call `stop` when the head says so, `abort` when it has gone."""
        threading.Thread(target=self._watch, args=(stop, abort), name="parent", daemon=True).start()

    def _watch(self, stop: Callable[[], None], abort: Callable[[], None]) -> None:
        for line in self._lines:
            if line == STOP:
                stop()
        abort()
        # What has not closed its files by then never will.
        threading.Event().wait(_GRACE_S)
        os._exit(ExitCode.BUG)
