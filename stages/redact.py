"""Takes what may be secret out of addresses and texts: the one place that knows where passwords stand."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

__all__ = ["is_url", "redacted", "redacted_text"]

#: A scheme of two letters or more; one letter is a Windows drive.
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
#: User and password, as FFmpeg finds them: up to the last "@" before the path.
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
#: The values of `key=value` in a path, where many recorders take user and password: `/user=me&password=…`.
_PATH_VALUES = re.compile(r"(?<==)[^/&;]+")
#: An address inside a text: to the next blank or quote, and with a password's blanks as far as its "@".
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://(?:[^\s'\"<>]*@)?[^\s'\"<>]*")


def is_url(url: str) -> bool:
    """True for what has a scheme, such as rtsp or http."""
    return _SCHEME.match(url) is not None


def redacted(url: str) -> str:
    """Give an address without user, password, query, fragment and the values in its path, fit for messages and logs."""
    if not is_url(url):
        return url
    try:
        parts = urlsplit(_CREDENTIALS.sub("", url))
        parts.port  # noqa: B018 — raises where the authority is not one
    except ValueError:
        # A password with "/", "?" or "#" in it that was not escaped: whatever is before the last "@" may be secret.
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{re.split(r'[/?#]', rest.rpartition('@')[2])[0]}"
    if not parts.netloc:
        # A local path, which urlunsplit would write without its "//".
        return f"{parts.scheme}://{parts.path}"
    # Cameras also take passwords and tokens in the query.
    path = _PATH_VALUES.sub("…", parts.path)
    return urlunsplit((parts.scheme, parts.netloc, path, "…" if parts.query else "", ""))


def redacted_text(text: str) -> str:
    """Give a text with every address in it redacted; what holds none comes back as it is."""
    return _ADDRESS.sub(lambda found: redacted(found[0]), text) if "://" in text else text
