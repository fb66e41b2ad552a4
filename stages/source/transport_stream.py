"""MPEG transport streams: whether one ends in the midst of a packet, the only trace that a cut leaves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from posestream.stages.source.place import is_file

__all__ = ["ends_in_mid_packet", "file_ends_in_mid_packet"]

#: What every packet begins with (ISO/IEC 13818-1, 2.4.3.2).
_SYNC = 0x47
#: Bytes of a packet and of what stands before its first one: plain, as M2TS (a time code before each).
_SHAPES = ((188, 0), (192, 4))


def file_ends_in_mid_packet(path: Path) -> bool:
    """True if a file is a transport stream of which the last packet is only begun.

    Nothing can be told of what is no file of this machine, such as a pipe or an address.

    Raises:
        OSError: the file cannot be read.
    """
    if not is_file(path):
        return False
    with path.open("rb") as file:
        return ends_in_mid_packet(path.stat().st_size, functools.partial(_byte_at, file))


def ends_in_mid_packet(size: int, byte_at: Callable[[int], int | None]) -> bool:
    """True if there are packets from the first byte to the end, and of the last one only the beginning.

    Where packets are not where they should be, at the beginning or at the end, nothing can be told.

    Args:
        size: bytes of the stream.
        byte_at: looks at one of them; only those of the first two and of the last two packets are asked for.
    """
    for packet, before in _SHAPES:
        whole, rest = divmod(size, packet)
        at = [start * packet + before for start in (0, 1, whole - 1)]
        # The rest must be a packet's beginning too: else it is something that was hung on.
        at += [whole * packet + before] if rest > before else []
        if whole > 1 and rest and all(byte_at(each) == _SYNC for each in at):
            return True
    return False


def _byte_at(file: BinaryIO, place: int) -> int | None:
    file.seek(place)
    return next(iter(file.read(1)), None)
