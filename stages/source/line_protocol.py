"""Which protocols this FFmpeg speaks: builds of it differ, and trying one that is missing for ever helps nobody."""

from __future__ import annotations

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import open as open_media
from av.error import FFmpegError, ProtocolNotFoundError

from posestream.stages.errors import SettingsError
from posestream.stages.redact import is_url, redacted
from posestream.stages.source.address import SCHEMES

__all__ = ["check_protocol"]


def check_protocol(url: str) -> None:
    """Refuse an address whose protocol this FFmpeg does not speak; nothing is connected for that.

    Raises:
        SettingsError: it does not; those that it speaks are told.
    """
    scheme = url.partition("://")[0]
    if not is_url(url) or _is_spoken(scheme):
        return
    spoken = ", ".join(other for other in SCHEMES if _is_spoken(other))
    raise SettingsError(
        f"source {redacted(url)}: the FFmpeg that PyAV has here was built without {scheme}://; it has: {spoken}"
    )


def _is_spoken(scheme: str) -> bool:
    """True for a protocol that FFmpeg finds; with none allowed it looks for it, and then does not use it (0.1 ms)."""
    try:
        open_media(f"{scheme}://localhost:1/x", options={"protocol_whitelist": "none"}).close()
    except ProtocolNotFoundError:
        return False
    except FFmpegError:
        return True
    return True
