"""The whole fragments of a fragmented MP4 file, as `output_video` writes it, also after it was cut off anywhere.

Source of the boxes' layout: ISO/IEC 14496-12, sections 8.8.4 to 8.8.8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from struct import unpack_from
from typing import BinaryIO

__all__ = ["END_BOX", "Fragment", "FragmentedFile", "read_fragments"]

#: A box that players ignore. It stands at the end of a file that was cut at a fragment, as an index stands at the end
#: of one that was closed.
END_BOX = b"\x00\x00\x00\x08free"

#: The pictures are always the first track.
_PICTURES_TRACK = 1
#: In a sample's flags: it leans on other samples.
_LEANS_ON_OTHERS = 0x10000
#: Of a track fragment header (tfhd): optional fields before the default flags, with their sizes; and those flags.
_HEADER_FIELDS = ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4))
_HAS_DEFAULT_FLAGS = 0x20
#: Of a track run (trun): optional fields.
_HAS_OFFSET, _HAS_FIRST_FLAGS = 0x1, 0x4
_HAS_DURATIONS, _HAS_SIZES, _HAS_FLAGS, _HAS_TIME_OFFSETS = 0x100, 0x200, 0x400, 0x800


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment: where it begins in the file, how many pictures it has, and whether they lean on none before."""

    begin: int
    pictures: int
    is_independent: bool


@dataclass(frozen=True, slots=True)
class FragmentedFile:
    """What can be said of a file."""

    fragments: tuple[Fragment, ...]
    #: Where the last of them ends; 0 where there is none.
    end: int
    #: True where the file was closed, or cut at a fragment and marked so: it has every picture up to its end.
    is_finished: bool
    #: True where the file is an MP4 in fragments, or the beginning of one.
    is_fragmented: bool


@dataclass(frozen=True, slots=True)
class _Box:
    """A box that is wholly there."""

    kind: bytes
    begin: int
    body_begin: int
    end: int


def read_fragments(path: Path) -> FragmentedFile:
    """Look through a file's boxes; the pictures themselves are not read.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        boxes = list(_top_boxes(file, size))
        fragments = tuple(_fragments(file, boxes))
        file.seek(0)
        beginning = file.read(8)
    kinds = [box.kind for box in boxes]
    is_finished = bool(boxes) and boxes[-1].end == size and kinds[-1] in (b"mfra", b"free")
    ends = [after.end for box, after in pairwise(boxes) if (box.kind, after.kind) == (b"moof", b"mdat")]
    is_fragmented = b"ftyp".startswith(beginning[4:]) and (b"mdat" not in kinds or bool(fragments))
    return FragmentedFile(fragments, ends[-1] if ends else 0, is_finished, is_fragmented)


def _top_boxes(file: BinaryIO, size: int) -> Iterator[_Box]:
    """Give a file's outermost boxes up to the first one that is not wholly there."""
    begin = 0
    while begin + 8 <= size:
        file.seek(begin)
        header = file.read(16)
        length, kind = unpack_from(">I4s", header)
        body_begin = begin + 8
        if length == 1 and len(header) == 16:
            # 1 says that a length of 64 bits follows.
            (length,), body_begin = unpack_from(">Q", header, 8), begin + 16
        if begin + length < body_begin or begin + length > size:
            return
        yield _Box(kind, begin, body_begin, begin + length)
        begin += length


def _fragments(file: BinaryIO, boxes: list[_Box]) -> Iterator[Fragment]:
    """Give the fragments whose pictures are wholly there."""
    for box, after in pairwise(boxes):
        if (box.kind, after.kind) == (b"moof", b"mdat"):
            file.seek(box.body_begin)
            yield _fragment(box.begin, file.read(box.end - box.body_begin))


def _fragment(begin: int, moof: bytes) -> Fragment:
    """Read how many pictures a fragment has, and whether it leans on those before."""
    flags: list[int] = []
    for kind, track in _boxes(moof):
        if kind == b"traf":
            flags += _picture_flags(track)
    return Fragment(begin, len(flags), bool(flags) and not flags[0] & _LEANS_ON_OTHERS)


def _picture_flags(track: bytes) -> list[int]:
    """Give the flags of each picture in a fragment's track; none for the sound's track."""
    usual_flags = 0
    flags: list[int] = []
    for kind, body in _boxes(track):
        if kind == b"tfhd":
            fields, number = unpack_from(">II", body)
            if number != _PICTURES_TRACK:
                return []
            if fields & _HAS_DEFAULT_FLAGS:
                at = 8 + sum(size for field, size in _HEADER_FIELDS if fields & field)
                (usual_flags,) = unpack_from(">I", body, at)
        elif kind == b"trun":
            flags += _run_flags(body, usual_flags)
    return flags


def _run_flags(body: bytes, usual_flags: int) -> list[int]:
    """Give the flags of each picture in a track run."""
    fields, count = unpack_from(">II", body)
    fields &= 0xFFFFFF
    at = 8 + 4 * bool(fields & _HAS_OFFSET)
    flags = [usual_flags] * count
    if count and fields & _HAS_FIRST_FLAGS:
        (flags[0],) = unpack_from(">I", body, at)
        at += 4
    if fields & _HAS_FLAGS:
        at += 4 * bool(fields & _HAS_DURATIONS) + 4 * bool(fields & _HAS_SIZES)
        step = 4 * (fields & (_HAS_DURATIONS | _HAS_SIZES | _HAS_FLAGS | _HAS_TIME_OFFSETS)).bit_count()
        flags = [unpack_from(">I", body, at + step * number)[0] for number in range(count)]
    return flags


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the boxes inside a box, each with what it holds."""
    begin = 0
    while begin + 8 <= len(data):
        length, kind = unpack_from(">I4s", data, begin)
        if length < 8:
            return
        yield kind, data[begin + 8 : begin + length]
        begin += length
