"""Names of sources, taken from their addresses and free of secrets."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Container, Iterable
from itertools import takewhile
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from posestream.stages.redact import is_url, redacted
from posestream.stages.source.place import is_folder, is_there

__all__ = ["derive_names", "is_camera", "is_url", "redacted"]

_CAMERA = re.compile(r"^(?:/dev/video)?(\d{1,3})$")
_GLOB = re.compile(r"[*?\[]")
#: Letters of a derived name at most: output files add some 60 of their own, and file systems end at 255 bytes.
_MOST_LETTERS = 100
#: Letters of the digest that keeps names apart which differ only behind that.
_DIGEST_LETTERS = 8
#: Letters whose accents are no signs of their own, so that Unicode does not take them apart.
_PLAIN = str.maketrans({"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def is_camera(url: str) -> bool:
    """True for a camera's number or its /dev/videoN."""
    return _CAMERA.match(url) is not None


def derive_names(urls: Iterable[str], taken: Container[str] = (), past: Container[str] = ()) -> list[str]:
    """Give each address a name of its own: its stem, folder, host or camera number; clashes get -2, -3 and so on.

    `taken` are names that are in use already, `past` those that were.
    """
    names: list[str] = []
    for url in urls:
        name = base = _derived(url)
        count = 1
        while name in names or name in taken or name in past:
            count += 1
            name = f"{base}-{count}"
        names.append(name)
    return names


def _derived(url: str) -> str:
    camera = _CAMERA.match(url)
    if camera:
        return f"camera-{int(camera[1])}"
    name = "stdin" if url == "-" else _host(url) if is_url(url) else _stem(redacted(url))
    return _bounded(re.sub(r"[^a-z0-9_.-]+", "-", _plain(name)).strip("-.")) or "source"


def _plain(name: str) -> str:
    """Give a name in small letters without accents; letters of other scripts stay as they are."""
    taken_apart = unicodedata.normalize("NFKD", name.casefold())
    return "".join(letter for letter in taken_apart if not unicodedata.combining(letter)).translate(_PLAIN)


def _bounded(name: str) -> str:
    """Give a name that is not too long for the files called after it; a digest tells shortened ones apart."""
    if len(name) <= _MOST_LETTERS:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LETTERS]
    return f"{name[: _MOST_LETTERS - _DIGEST_LETTERS - 1].rstrip('-.')}-{digest}"


def _host(url: str) -> str:
    try:
        parts = urlsplit(redacted(url))
    except ValueError:
        return ""
    host = parts.hostname or PurePath(parts.path).stem
    # What would be left of [::1] is a digit.
    return f"ipv6-{host.strip(':')}" if host.startswith(":") else host


def _stem(url: str) -> str:
    path = Path(url)
    if is_folder(path):
        return path.resolve().name
    if _GLOB.search(url) and not is_there(path):
        # A pattern is called after the last folder before its first wildcard.
        fixed = takewhile(lambda part: not _GLOB.search(part), path.parent.parts)
        return PurePath(*fixed).name or "pictures"
    return path.stem
