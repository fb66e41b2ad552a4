"""A file's lines from the last one to the first, without reading what nobody asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["lines_backwards"]

#: Bytes that are read at once.
_BLOCK_BYTES = 1 << 18


def lines_backwards(file: BinaryIO, block_bytes: int = _BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Give each line, its line feed included, with the place where it begins, the last line first.

    Only the last line can be without a line feed.
    """
    begin = file.seek(0, os.SEEK_END)
    known = b""
    while begin > 0:
        size = min(block_bytes, begin)
        begin -= size
        file.seek(begin)
        known = file.read(size) + known
        # The first line in hand may begin in the block before.
        first_end = known.find(b"\n") + 1 or len(known)
        yield from _reversed(known[first_end:], begin + first_end)
        known = known[:first_end]
    if known:
        yield 0, known


def _reversed(data: bytes, begin: int) -> Iterator[tuple[int, bytes]]:
    """Give the lines of some bytes that begin at a place of the file."""
    end = len(data)
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        yield begin + start, data[start:end]
        end = start
