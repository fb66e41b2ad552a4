"""Takes what may be secret out of addresses and texts: the one place that knows where passwords stand."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

__all__ = ["is_url", "redacted", "redacted_text", "told_value"]

#: A scheme of two letters or more; one letter is a Windows drive.
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
#: User and password, as FFmpeg finds them: up to the last "@" before the path.
_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
#: How an abstract name of Linux begins: no user comes before this "@".
_ABSTRACT = "ipc://@"
#: The values of `key=value` in a path, where many recorders take user and password: `/user=me&password=…`.
_PATH_VALUES = re.compile(r"(?<==)[^/&;]+")
#: A part of a path that is a token by its looks: long, of letters and digits in disorder. A short one, or one that
#: looks like a word, cannot be told from a stream's name.
_TOKEN = re.compile(
    r"(?<![a-zA-Z0-9])(?:(?=[a-zA-Z]*\d)(?=\d*[a-zA-Z])[a-zA-Z0-9]{12,}|[A-Z]{16,}|[a-zA-Z0-9]{24,})(?![a-zA-Z0-9])"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
#: What stands last in RTMP's path, behind the name of an application, is the key of the stream.
_STREAM_KEY = re.compile(r"(?<=[^/]/)[^/]+/*$")
#: User and password in an address without scheme, or with too few slashes: a colon, and an "@" behind it in one word. A
#: drive's letter is no user, nor is `synthetic:WIDTHxHEIGHT@RATE`, and what has a scheme was looked at before.
_BARE = re.compile(
    r"(?<![^\s'\"<>(\[=,;/])(?<!//)(?![a-zA-Z]:[\\/]|synthetic:\d+x\d+)[^\s'\"<>/@:(\[=,;]+:(?!//)[^\s'\"<>]*@"
)
#: An address inside a text: to the next blank or quote, and with a password's blanks as far as its "@".
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://(?:[^\s'\"<>]*@)?[^\s'\"<>]*")


def is_url(url: str) -> bool:
    """True for what has a scheme, such as rtsp or http."""
    return _SCHEME.match(url) is not None


def redacted(url: str) -> str:
    """Give an address without user, password, query, fragment and the values in its path, fit for messages and logs."""
    if not is_url(url) or url.startswith(_ABSTRACT):
        return _BARE.sub("…@", url)
    try:
        parts = urlsplit(_CREDENTIALS.sub("", url))
        parts.port  # noqa: B018 — raises where the authority is not one
    except ValueError:
        # A password with "/", "?" or "#" in it that was not escaped: whatever is before the last "@" may be secret.
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{re.split(r'[/?#]', rest.rpartition('@')[2])[0]}"
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        if _CREDENTIALS.search(url):
            # Perhaps a password with an "@" and a "/", "?" or "#" behind it, so that its end looks like the host.
            return f"{parts.scheme}://…"
        if ":" in parts.netloc:
            # Perhaps one that begins with digits, which look like a port. Over HTTP a path often has an "@".
            return f"{parts.scheme}://{parts.netloc}/…" if parts.scheme.startswith("http") else f"{parts.scheme}://…"
    if not parts.netloc:
        # A local path, which urlunsplit would write without its "//".
        return f"{parts.scheme}://{parts.path}"
    # Cameras also take passwords and tokens in the query.
    path = "/".join("…" if _TOKEN.search(part) else part for part in _PATH_VALUES.sub("…", parts.path).split("/"))
    if parts.scheme.startswith("rtmp"):
        path = _STREAM_KEY.sub("…", path)
    return urlunsplit((parts.scheme, parts.netloc, path, "…" if parts.query else "", ""))


def redacted_text(text: str) -> str:
    """Give a text with every address in it redacted; what holds none comes back as it is."""
    if "://" in text:
        text = _ADDRESS.sub(lambda found: redacted(found[0]), text)
    return _BARE.sub("…@", text) if "@" in text else text


def told_value(key: str, value: object) -> str:
    """Give a value that does not fit its key as people may see it: texts of a source may be anything, passwords too."""
    is_plain = isinstance(value, bool | int | float | None) or (isinstance(value, str) and is_url(value))
    return redacted_text(repr(value)) if is_plain or not key.startswith("source") else "…"
