"""How an engine's own threads tell the owner's loop that something is done: a queue with a file descriptor."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

__all__ = ["Mailbox"]

ItemT = TypeVar("ItemT")


class Mailbox(Generic[ItemT]):
    """Holds what any thread puts in until the owner takes it; `fileno` is readable while there is something.

    The owner may find it empty after a wake-up (an item that came while it was being emptied), never full without one.
    """

    def __init__(self) -> None:
        self._items: deque[ItemT] = deque()
        self._wakeup = _wakeup()
        self._lock = threading.Lock()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Mailbox({len(self._items)} waiting{', closed' if self._is_closed else ''})"

    def fileno(self) -> int:
        """Give the descriptor to poll for reading."""
        return self._wakeup.fileno()

    def put(self, item: ItemT) -> None:
        """Add an item and wake the owner; from any thread, never waits, does nothing after `close`."""
        with self._lock:  # so that a late call never writes to a descriptor number that is somebody else's by now
            if self._is_closed:
                return
            self._items.append(item)
            self._wakeup.set()

    def take(self) -> list[ItemT]:
        """Take everything, oldest first; never waits."""
        with self._lock:
            if not self._is_closed:
                self._wakeup.clear()
            items = list(self._items)
            self._items.clear()
        return items

    def wake(self) -> None:
        """Wake the owner once more, because it left something behind."""
        with self._lock:
            if not self._is_closed:
                self._wakeup.set()

    def close(self) -> None:
        """Free the descriptor; what is inside can still be taken."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._wakeup.close()


class _Wakeup(Protocol):
    def fileno(self) -> int: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...


class _EventWakeup:
    """An eventfd: one descriptor, a counter that cannot run full here."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def set(self) -> None:
        os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self._fd)


class _SocketWakeup:
    """A pair of sockets, for systems without eventfd."""

    #: Bytes taken in one go; more stay readable and cost one empty wake-up.
    _CHUNK = 4096

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def set(self) -> None:
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # full of wake-ups: it is readable

    def clear(self) -> None:
        try:
            self._reader.recv(self._CHUNK)
        except BlockingIOError:
            return

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def _wakeup() -> _Wakeup:
    return _EventWakeup() if hasattr(os, "eventfd") else _SocketWakeup()
