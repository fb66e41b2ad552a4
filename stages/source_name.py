"""Names of sources, taken from their addresses and free of secrets."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import takewhile
from pathlib import Path, PurePath
from urllib.parse import urlsplit, urlunsplit

__all__ = ["derive_names", "is_camera", "is_url", "redacted"]

#: A scheme of two letters or more; one letter is a Windows drive.
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_CAMERA = re.compile(r"^(?:/dev/video)?(\d{1,3})$")
_GLOB = re.compile(r"[*?\[]")
#: User and password, as FFmpeg finds them: up to the last "@" before the path.
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")


def is_url(url: str) -> bool:
    """True for what has a scheme, such as rtsp or http."""
    return _SCHEME.match(url) is not None


def is_camera(url: str) -> bool:
    """True for a camera's number or its /dev/videoN."""
    return _CAMERA.match(url) is not None


def redacted(url: str) -> str:
    """Give an address without user, password, query and fragment, fit for messages and logs."""
    if not is_url(url):
        return url
    try:
        parts = urlsplit(_CREDENTIALS.sub("", url))
        parts.port  # noqa: B018 — raises where the authority is not one
    except ValueError:
        # A password with "/", "?" or "#" in it that was not escaped: whatever is before the last "@" may be secret.
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{re.split(r'[/?#]', rest.rpartition('@')[2])[0]}"
    # Cameras also take passwords and tokens in the query.
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "…" if parts.query else "", ""))


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
    name = _host(url) if is_url(url) else _stem(url)
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.") or "source"


def _host(url: str) -> str:
    parts = urlsplit(redacted(url))
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
