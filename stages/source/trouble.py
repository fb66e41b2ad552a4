"""What can be wrong with a connection, told apart: refused, unknown host, wrong password, silence, and so on."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av.error import (
    ExitError,
    FFmpegError,
    HTTPForbiddenError,
    HTTPUnauthorizedError,
    InvalidDataError,
    ProtocolNotFoundError,
)

from posestream.stages.errors import SourceError
from posestream.stages.source.address import holds_port

__all__ = ["LinkError", "link_error"]


#: Schemes of which both sides talk before any video comes.
_CONVERSATIONS = ("rtsp", "rtsps", "rtmp", "rtmps")
#: Schemes with TLS, and what each is called without.
_PLAIN = {"rtsps": "rtsp", "https": "http", "rtmps": "rtmp"}


class LinkError(SourceError):
    """A connection did not come about, or broke.

    Args:
        text: what happened, for people.
        is_refusal: the source does not want us, and trying soon again would only make it worse.
        is_final: nothing will ever come of trying again.
    """

    def __init__(self, text: str, *, is_refusal: bool = False, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_refusal = is_refusal
        self.is_final = is_final


def link_error(
    label: str, url: str, error: Exception, what: str = "cannot be opened", *, is_new: bool = True
) -> LinkError:
    """Say what an error of FFmpeg's means; no cause is to be kept, for it repeats the address with its password.

    Args:
        label: the source as people may see it.
        url: its address.
        error: what FFmpeg raised.
        what: what did not go.
        is_new: False for a connection that had come about.
    """
    if isinstance(error, ProtocolNotFoundError):
        return LinkError(f"{label} {what}: Protocol not found", is_final=True)
    if isinstance(error, HTTPUnauthorizedError):
        has_login = "@" in url.partition("://")[2].split("/")[0]
        told = "user or password is wrong" if has_login else "a user and a password are needed"
        return LinkError(f"{label} {what}: {told} (401)", is_refusal=True)
    if isinstance(error, HTTPForbiddenError):
        return LinkError(f"{label} {what}: access is forbidden (403)", is_refusal=True)
    if isinstance(error, ExitError):
        return LinkError(f"{label} {what}: no answer in time")
    if isinstance(error, RuntimeError) and not isinstance(error, FFmpegError):
        return LinkError(f"{label} {what}: {error}", is_final=True)
    reason = (error.strerror if isinstance(error, FFmpegError) else None) or "the address is not understood"
    if isinstance(error, InvalidDataError):
        scheme = url.partition("://")[0].lower()
        reason = "what comes is no video that is known here, or it is damaged"
        if scheme in _CONVERSATIONS:
            # What it says is read before any video comes; FFmpeg tells so of an answer that breaks off, too.
            reason = f"who listens there closed the connection without an answer, or does not speak {scheme.upper()}"
    if getattr(error, "errno", None) == errno.EIO:
        reason = _look_up_failure(url) or (_encryption_failure(url) if is_new else "") or _silence(url) or reason
    return LinkError(f"{label} {what}: {reason}")


def _encryption_failure(url: str) -> str:
    """Say what is likely where an encrypted connection breaks without a number of its own; empty for plain ones."""
    scheme = url.partition("://")[0].lower()
    plain = _PLAIN.get(scheme)
    return f"no encrypted connection came about; without TLS it is {plain}://" if plain else ""


def _silence(url: str) -> str:
    """Say what has happened where nothing can break but patience; empty where something else can."""
    return "nothing came" if holds_port(url) else ""


def _look_up_failure(url: str) -> str:
    """Say whether a host's name is unknown: FFmpeg tells of that with the same number as of anything else."""
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:
        return ""
    if not host:
        return ""
    try:
        socket.getaddrinfo(host, port)
    except socket.gaierror as error:
        return f"the host {host} cannot be found ({error.strerror})"
    except (OSError, UnicodeError):
        return ""
    return ""
