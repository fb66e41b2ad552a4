"""One connection to a live source: a thread that opens, reads and decodes until it ends or nobody wants it any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from posestream.stages.source.mailbox import Mailbox
from posestream.stages.source.protocol import Source
from posestream.stages.source.stamp import Stamp

__all__ = ["Connect", "Reader"]

_log = logging.getLogger(__name__)

#: Makes the source of one connection, told the clock that reads when something came.
Connect = Callable[[Callable[[], Stamp]], Source]


class Reader:
    """Drains a connection into a mailbox, whatever is done with it there.

    A look-up of a name or a read can hang for minutes inside a foreign library. So the thread is nobody's to wait for:
    a reader that is given up closes its connection itself when the call comes back, or never.
    """

    def __init__(self, name: str, connect: Connect, mailbox: Mailbox) -> None:
        self._connect = connect
        self.mailbox = mailbox
        self._thread = threading.Thread(target=self._main, name=f"reader of {name}", daemon=True)

    def __repr__(self) -> str:
        return f"<Reader {self._thread.name} alive={self.is_alive} {self.mailbox}>"

    @property
    def is_alive(self) -> bool:
        """True until its thread has ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def give_up(self) -> None:
        """Want nothing more of it."""
        self.mailbox.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; False if it has not come after `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001 - the source decides what any failure means
            _log.debug("%s ended", self._thread.name, exc_info=error)
            self.mailbox.end(error)
        else:
            self.mailbox.end()

    def _read(self) -> None:
        with self._connect(self.mailbox.stamp) as source:
            self.mailbox.opened(source.open())
            for frame in source.frames():
                if not self.mailbox.put(frame):
                    return
