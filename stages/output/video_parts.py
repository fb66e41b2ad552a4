"""The files of a recording that was gone on with: `NAME.mp4`, `NAME.part2.mp4`, `NAME.part3.mp4`, and so on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import open as open_media

from posestream.stages.errors import OutputError
from posestream.stages.output.held import was_written_since
from posestream.stages.output.mp4_fragments import END_BOX, read_fragments
from posestream.stages.output.sink import output_errors

__all__ = ["HeldParts", "cut_torn", "first_picture_note", "further_parts", "hold_parts"]

#: How a file says which of the source's pictures its first one is, in its comment.
_NOTE = re.compile(r"first picture: (\d{1,12})")


@dataclass(frozen=True, slots=True)
class HeldParts:
    """What an earlier process left of a recording."""

    #: Parts that hold pictures.
    paths: tuple[Path, ...]
    #: How many of the source's first pictures are done with them; 0 where they hold none.
    pictures: int
    #: Where the recording goes on.
    next_path: Path


def first_picture_note(number: int) -> str:
    """Give what a file's comment is to say: which of the source's pictures its first one is, counted from 0."""
    return f"first picture: {number}"


def further_parts(path: Path) -> list[Path]:
    """List the parts beside a recording's first one that are there."""
    parts: list[Path] = []
    for part in _part_paths(path):
        if part == path:
            continue
        if not part.exists():
            return parts
        parts.append(part)
    return parts


def hold_parts(path: Path, since_s: float) -> HeldParts:
    """Cut each part after its last picture that is surely there, with all that come before it, and count the pictures.

    A part of which nothing is left is removed. All of them are to be written anew if the first one was written before
    `since_s`.

    Raises:
        OutputError: a part cannot be read or cut, or is none that this writes.
    """
    held: list[tuple[Path, int]] = []
    if was_written_since(path, since_s):
        held = [(part, _hold(part)) for part in (path, *further_parts(path))]
    while held and not held[-1][1]:
        part, _ = held.pop()
        with output_errors(part):
            part.unlink()
    parts = [part for part, _ in held]
    next_path = next(part for part in _part_paths(path) if part not in parts)
    first = _first_picture(parts[0]) if parts else 0
    return HeldParts(tuple(parts), first + sum(pictures for _, pictures in held), next_path)


def cut_torn(part: Path) -> None:
    """End a file that could not be written further at its last whole fragment, or remove it where it has none.

    Raises:
        OutputError: it cannot be cut.
    """
    if not part.is_file():
        return  # a device, or a file that never got its name
    with output_errors(part):
        end = read_fragments(part).end
        if end:
            os.truncate(part, end)
        else:
            part.unlink()


def _part_paths(path: Path) -> Iterator[Path]:
    """Give the paths of all parts that there can be."""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}.part{number}{path.suffix}")


def _first_picture(part: Path) -> int:
    """Tell which of the source's pictures the first one of a file is."""
    with output_errors(part), open_media(str(part)) as container:
        found = _NOTE.fullmatch(container.metadata.get("comment", ""))
    return int(found[1]) if found else 0


def _hold(part: Path) -> int:
    """Cut one part and count its pictures.

    A fragment that a kill left may end with pictures that come after some of the next fragment's. Only where the next
    one leans on none before it, everything before is complete.
    """
    with output_errors(part):
        found = read_fragments(part)
        if not found.is_fragmented:
            raise OutputError(
                f"cannot go on with {part}: it is no video of an earlier run; give another path or replace it "
                "(--overwrite)"
            )
        kept = list(found.fragments)
        if not found.is_finished:
            while kept and not kept[-1].is_independent:
                kept.pop()
            if kept:
                _cut(part, kept.pop().begin)
    return sum(fragment.pictures for fragment in kept)


def _cut(part: Path, end: int) -> None:
    """End a file at the beginning of a fragment, and mark that all before is complete."""
    with part.open("r+b") as file:
        file.truncate(end)
        file.seek(end)
        file.write(END_BOX)
