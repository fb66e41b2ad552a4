"""MPEG transport streams in files: whether one ends in the midst of a packet, the only trace that a cut leaves."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from posestream.stages.source.place import is_file

__all__ = ["ends_in_mid_packet"]

#: What every packet begins with (ISO/IEC 13818-1, 2.4.3.2).
_SYNC = 0x47
#: Bytes of a packet and of what stands before its first one: plain, as M2TS (a time code before each).
_SHAPES = ((188, 0), (192, 4))


def ends_in_mid_packet(path: Path) -> bool:
    """True if a file has packets from its first byte to its end, and of the last one only the beginning.

    Where packets are not where they should be, at the beginning or at the end, nothing can be told; nor of what is no
    file of this machine, such as a pipe or an address.

    Raises:
        OSError: the file cannot be read.
    """
    if not is_file(path):
        return False
    size = path.stat().st_size
    with path.open("rb") as file:
        for packet, before in _SHAPES:
            whole, rest = divmod(size, packet)
            at = [start * packet + before for start in (0, 1, whole - 1)]
            # The rest must be a packet's beginning too: else it is something that was hung on.
            at += [whole * packet + before] if rest > before else []
            if whole > 1 and rest and all(_byte_at(file, each) == _SYNC for each in at):
                return True
    return False


def _byte_at(file: BinaryIO, place: int) -> int | None:
    file.seek(place)
    return next(iter(file.read(1)), None)
