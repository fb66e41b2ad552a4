"""Names of sources, taken from their addresses and free of secrets."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import takewhile
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from posestream.stages.redact import is_url, redacted

__all__ = ["derive_names", "is_camera", "is_url", "redacted"]

_CAMERA = re.compile(r"^(?:/dev/video)?(\d{1,3})$")
_GLOB = re.compile(r"[*?\[]")


def is_camera(url: str) -> bool:
    """True for a camera's number or its /dev/videoN."""
    return _CAMERA.match(url) is not None


def derive_names(urls: Iterable[str], taken: Collection[str] = ()) -> list[str]:
    """Give each address a name of its own: its stem, folder, host or camera number; clashes get -2, -3 and so on.

    `taken` are names that are in use already.
    """
    names: list[str] = []
    for url in urls:
        name = base = _derived(url)
        count = 1
        while name in names or name in taken:
            count += 1
            name = f"{base}-{count}"
        names.append(name)
    return names


def _derived(url: str) -> str:
    camera = _CAMERA.match(url)
    if camera:
        return f"camera-{int(camera[1])}"
    name = "stdin" if url == "-" else _host(url) if is_url(url) else _stem(redacted(url))
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.") or "source"


def _host(url: str) -> str:
    try:
        parts = urlsplit(redacted(url))
    except ValueError:
        return ""
    return parts.hostname or PurePath(parts.path).stem


def _stem(url: str) -> str:
    path = Path(url)
    if path.is_dir():
        return path.resolve().name
    if _GLOB.search(url) and not path.exists():
        # A pattern is called after the last folder before its first wildcard.
        fixed = takewhile(lambda part: not _GLOB.search(part), path.parent.parts)
        return PurePath(*fixed).name or "pictures"
    return path.stem
