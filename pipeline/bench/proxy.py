"""A wire that can be cut, stalled, delayed and throttled: it passes bytes on over TCP until it is told not to."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]

_CHUNK_BYTES = 1 << 16
#: Bytes that are on a delayed wire at most.
_MOST_BYTES = 1 << 24
#: How often a wire with nothing to carry looks what it is told, in seconds.
_LOOK_S = 0.01
#: A throttled wire carries so many seconds' worth at once.
_GRAIN_S = 0.02


class Proxy:
    """Listens on a port of its own and passes connections on to another port of this host."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        #: True: who calls is sent away at once.
        self.is_refusing = False
        #: True: nothing is carried, and nothing is lost.
        self.is_stalled = False
        #: How long everything is on its way, in seconds.
        self.delay_s = 0.0
        #: How much is carried each way, in bytes a second; None: all there is.
        self.most_bytes_s: int | None = None
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut for good."""
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection; whoever calls again is connected again."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    if self.is_refusing:
                        raise ConnectionRefusedError
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), name="proxy", daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            _Wire(self, source, sink).run()
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class _Wire:
    """One direction of one connection."""

    def __init__(self, proxy: Proxy, source: socket.socket, sink: socket.socket) -> None:
        self._proxy = proxy
        self._source = source
        self._sink = sink
        #: What is on its way, with the time at which it came in.
        self._on_way: deque[tuple[float, bytes]] = deque()

    def run(self) -> None:
        """Carry until the source's end."""
        has_ended = False
        while not has_ended or self._on_way:
            is_due = self._is_due()
            if not has_ended and sum(len(data) for _, data in self._on_way) < _MOST_BYTES:
                ready, _, _ = select.select([self._source], [], [], 0 if is_due else _LOOK_S)
                if ready and not self._proxy.is_stalled:
                    data = self._source.recv(_CHUNK_BYTES)
                    has_ended = not data
                    self._on_way.append((time.monotonic(), data))
                elif ready:
                    time.sleep(_LOOK_S)
            elif not is_due:
                time.sleep(_LOOK_S)
            if self._is_due():
                self._deliver(self._on_way.popleft()[1])

    def _is_due(self) -> bool:
        if self._proxy.is_stalled or not self._on_way:
            return False
        return time.monotonic() - self._on_way[0][0] >= self._proxy.delay_s

    def _deliver(self, data: bytes) -> None:
        while data:
            rate = self._proxy.most_bytes_s
            count = len(data) if rate is None else max(1, round(rate * _GRAIN_S))
            self._sink.sendall(data[:count])
            data = data[count:]
            if rate is not None:
                time.sleep(_GRAIN_S)
