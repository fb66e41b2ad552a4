"""Standard input, read for FFmpeg: a pipe cannot be looked at again, so what tells of a cut is kept as it passes."""

from __future__ import annotations

import os
import sys

from posestream.stages.errors import SettingsError, SourceError
from posestream.stages.source.transport_stream import ends_in_mid_packet

__all__ = ["STANDARD_INPUT", "StandardInput", "check_standard_input"]

#: What is written for standard input.
STANDARD_INPUT = "-"
#: So many bytes of its beginning and of its end are kept: two packets of a transport stream, the largest kind.
_KEPT_BYTES = 400


class StandardInput:
    """Gives the bytes of standard input once, to one reader; it is never closed.

    Args:
        descriptor: where it is open.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._size = 0
        self._head = self._tail = b""

    def __repr__(self) -> str:
        return f"<StandardInput {self._size} bytes>"

    def read(self, size: int) -> bytes:
        """Wait for bytes and give so many at most; none at the end.

        Raises:
            SourceError: it cannot be read.
        """
        try:
            data = os.read(self._descriptor, size)
        except OSError as error:
            raise SourceError(f"standard input cannot be read: {error.strerror or error}") from error
        if len(self._head) < _KEPT_BYTES:
            self._head = (self._head + data)[:_KEPT_BYTES]
        self._tail = (self._tail + data)[-_KEPT_BYTES:]
        self._size += len(data)
        return data

    def ends_in_mid_packet(self) -> bool:
        """True if what was read is a transport stream that ends in the midst of a packet."""
        return ends_in_mid_packet(self._size, self._byte_at)

    def _byte_at(self, place: int) -> int | None:
        """Look at a byte of the beginning or the end."""
        kept, at = (self._head, place) if place < len(self._head) else (self._tail, place - self._size)
        return kept[at] if -len(kept) <= at < len(kept) else None


def check_standard_input() -> None:
    """Refuse to read video from a keyboard, or from what is not there.

    Raises:
        SettingsError: standard input is closed or a terminal.
    """
    try:
        is_terminal = sys.stdin is not None and os.isatty(sys.stdin.fileno())
        is_closed = sys.stdin is None
    except (OSError, ValueError):
        is_terminal, is_closed = False, True
    if is_closed or is_terminal:
        how = "closed" if is_closed else "a terminal"
        raise SettingsError(f"standard input (-) is {how}; pipe a video into it")
