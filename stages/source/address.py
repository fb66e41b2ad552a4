"""What a source's address may look like: checked once, before anything is opened or tried again and again."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from posestream.stages.errors import SettingsError
from posestream.stages.redact import is_url, redacted
from posestream.stages.source.place import is_there

__all__ = ["LIVE_SCHEMES", "SCHEMES", "checked_address", "holds_port"]

#: Schemes that take a port of this host for as long as a connection is there.
_PORT_HOLDERS = ("udp", "rtp")
#: Schemes that only carry what happens now.
LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
#: Schemes of which what has a duration is a recording.
_OTHER_SCHEMES = ("http", "https", "file")
#: All that an address may have.
SCHEMES = (*LIVE_SCHEMES, *_OTHER_SCHEMES)
#: Those that cannot do without a host; the others may listen.
_WITH_HOST = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https")
#: A scheme with too few slashes.
_FEW_SLASHES = re.compile(rf"(?i)({'|'.join(SCHEMES)}):(?!//)")
#: How what would end the password is written in it.
_HINT = "in a user or password write / as %2F, ? as %3F, # as %23 and @ as %40"


def holds_port(url: str) -> bool:
    """True for an address at which this host listens, so that two connections to it exclude each other."""
    return url.partition("://")[0].lower() in _PORT_HOLDERS


def checked_address(url: str) -> str:
    """Give an address as it is opened: its scheme in small letters, and a `file://` as the path that it means.

    Raises:
        SettingsError: it cannot be meant; nothing secret is in the text.
    """
    _check_signs(url)
    if not is_url(url):
        if (found := _FEW_SLASHES.match(url)) and not is_there(url):
            raise SettingsError(f"source {redacted(url)}: write {found[1].lower()}:// with two slashes")
        return url
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "file":
        return _path(url, rest)
    if scheme not in SCHEMES:
        raise SettingsError(f"source {redacted(url)}: {scheme}:// is not known; known are: {', '.join(SCHEMES)}")
    complaint = _complaint(scheme, rest)
    if complaint:
        raise SettingsError(f"source {redacted(url)}: {complaint}")
    return f"{scheme}://{rest}"


def _check_signs(url: str) -> None:
    """Refuse what the system takes for no name.

    Raises:
        SettingsError: a zero is in it, or letters that are none.
    """
    try:
        # Names of files may have bytes that are no letters, which Python keeps as lone surrogates; addresses may not.
        coded = url.encode() if is_url(url) else os.fsencode(url)
    except UnicodeEncodeError:
        coded = b"\0"
    if b"\0" in coded:
        raise SettingsError(f"source {redacted(url)!a}: it has signs in it that no address and no file's name can have")


def _path(url: str, rest: str) -> str:
    host, slash, path = rest.partition("/")
    if not slash or not path or host.lower() not in ("", "localhost"):
        raise SettingsError(f"source {redacted(url)}: a file's address is file:///PATH")
    named = unquote(slash + path)
    _check_signs(named)
    return named


def _complaint(scheme: str, rest: str) -> str:
    """Say what is wrong with what follows the scheme; empty: nothing."""
    authority, *others = re.split(r"[/?#]", rest, maxsplit=1)
    behind = others[0] if others else ""
    has_cut_login = "@" not in authority and ":" in authority and "@" in behind
    try:
        parts = urlsplit(f"x://{authority}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        if authority.count("[") != authority.count("]"):
            return "its host has an unpaired bracket; an IPv6 address is written [::1]"
        return f"its port is no number from 0 to 65535{f'; {_HINT}' if has_cut_login else ''}"
    if not host and scheme in _WITH_HOST:
        return f"it has no host; write {scheme}://HOST/PATH"
    # A password that begins with digits looks like a port. What is read over HTTP may have an "@" in its path.
    if has_cut_login and (not scheme.startswith("http") or rest[len(authority)] == "#"):
        return f"its host cannot be told; {_HINT}"
    return ""
