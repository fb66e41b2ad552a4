"""One thread of the pipeline: it runs, it ends, and nobody has to guess why."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Part"]

_log = logging.getLogger(__name__)


class Part:
    """Runs a loop in a thread of its own and keeps the error that ended it."""

    def __init__(self, name: str, run: Callable[[], None], on_end: Callable[[], None]) -> None:
        self.name = name
        self.error: BaseException | None = None
        #: When that ended it, in seconds of the monotonic clock.
        self.failed_s = 0.0
        self._run = run
        self._on_end = on_end
        # A daemon, so that a reader that hangs in a foreign library cannot keep the process from ending.
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def __repr__(self) -> str:
        state = "running" if self.is_alive else "failed" if self.error else "ended"
        return f"<Part {self.name} {state}>"

    @property
    def is_alive(self) -> bool:
        """True from start to end."""
        return self._thread.is_alive()

    @property
    def was_started(self) -> bool:
        """True once it has begun, also after its end."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if it has not come after `timeout_s`."""
        if self._thread.ident is None:
            return True  # it was never started, since something before it failed
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - whatever ended the thread is told by `error`
            _log.debug("%s failed", self.name, exc_info=error)
            self.failed_s = time.monotonic()
            self.error = error
        finally:
            self._on_end()
