"""Hardware decoders: which there are, and the one that was asked for."""

from __future__ import annotations

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError

from posestream.stages.errors import SettingsError

__all__ = ["NO_HARDWARE", "accelerator", "check_hardware"]

#: What is written for decoding on the processor.
NO_HARDWARE = "none"
#: What every hardware decoder and camera knows.
_COMMON_CODEC = "h264"


def check_hardware(name: str) -> None:
    """Refuse a hardware decoder that is not there.

    Raises:
        SettingsError: this FFmpeg does not know it, or this machine lacks the device; those that work are told.
    """
    if name == NO_HARDWARE:
        return
    why = _fault(name) if name in hwdevices_available() else "this FFmpeg was built without it"
    if why:
        usable = ", ".join(other for other in hwdevices_available() if not _fault(other)) or "no hardware decoder"
        raise SettingsError(f'hwaccel {name!r} is not to be had: {why}; here is: {usable} (and "none", the processor)')


def _fault(name: str) -> str:
    """Say why a decoder's device cannot be opened; empty where it can."""
    try:
        HWAccel(device_type=name).create(Codec(_COMMON_CODEC, "r"))
    except NotImplementedError:
        return "this FFmpeg decodes no H.264 with it"
    except FFmpegError as error:
        return f"its device cannot be opened ({error.strerror})"
    return ""


def accelerator(name: str) -> HWAccel | None:
    """Give what PyAV opens a source with; without the device it raises, never decodes on the processor instead."""
    return None if name == NO_HARDWARE else HWAccel(device_type=name, allow_software_fallback=False)
