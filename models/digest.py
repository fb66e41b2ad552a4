"""Digests of files, and putting a file in its place only when its digest is right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from posestream.models.errors import ModelError

__all__ = ["matches", "place"]

#: Bytes read at a time.
_CHUNK = 1 << 20


def matches(path: Path, digest: str) -> bool:
    """True if the file's digest is the recorded one ("sha256:…", "sha1:…" or "md5:…")."""
    algorithm, _, expected = digest.partition(":")
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest() == expected


def place(part: Path, target: Path, digest: str, origin: str) -> None:
    """Give a complete file its name, in one step, if its digest is right; delete it if not.

    Raises:
        ModelError: the digest is wrong; the text names the origin.
    """
    if not matches(part, digest):
        part.unlink()
        raise ModelError(
            f"{target.name} from {origin} is not the recorded file ({digest.partition(':')[0]} differs): "
            "deleted; something on the way changed it, or its publisher did"
        )
    os.replace(part, target)  # noqa: PTH105 # the word says what happens where Path.replace would hide it
