"""Video decoders and the encoder, each tried on a clip of a few frames, also on hardware."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, cast

import av
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available

from posestream.pipeline.doctor.finding import Finding, State

__all__ = ["look_at_decoders"]

_SECTION = "video"
#: Decoders of what cameras and files usually hold.
_DECODERS = ("h264", "hevc", "vp9", "av1", "mjpeg")
#: What recordings are written with.
_ENCODER = "libx264"
#: Size and number of the clip's frames; hardware refuses much smaller ones.
_WIDTH, _HEIGHT, _FRAMES = 256, 144, 8


def look_at_decoders() -> list[Finding]:
    """Give the decoders, the encoder, and each kind of hardware that decodes H.264 here."""
    found = [_codec(name, "r", "decoder") for name in _DECODERS]
    encoder = _codec(_ENCODER, "w", "encoder")
    found.append(encoder)
    if encoder.state is State.OK:
        clip = _clip()
        found += [_hardware(kind, clip) for kind in hwdevices_available()]
    return found


def _codec(name: str, mode: Any, what: str) -> Finding:
    try:
        codec = av.Codec(name, mode)
    except ValueError:  # its UnknownCodecError
        advice = "pip install --force-reinstall --only-binary=:all: av"
        return Finding(_SECTION, f"{name} {what}", State.WARNING, "this FFmpeg was built without it", advice)
    return Finding(_SECTION, f"{name} {what}", State.OK, codec.long_name)


def _clip() -> bytes:
    """Give a few frames as H.264 in Matroska."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream = cast(av.VideoStream, output.add_stream(_ENCODER, rate=25))
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for number in range(_FRAMES):
            picture = np.full((_HEIGHT, _WIDTH, 3), 16 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode())
    return buffer.getvalue()


def _hardware(kind: str, clip: bytes, open_: Callable[..., Any] = av.open) -> Finding:
    """Decode the clip with one kind of hardware, and with nothing else."""
    name = f"h264 on {kind}"
    try:
        hwaccel = HWAccel(device_type=kind, allow_software_fallback=False)
        with open_(io.BytesIO(clip), hwaccel=hwaccel) as source:
            frames = sum(1 for _ in source.decode(video=0))
    except (av.FFmpegError, RuntimeError, NotImplementedError, ValueError) as error:
        return Finding(_SECTION, name, State.ABSENT, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    if frames != _FRAMES:
        return Finding(_SECTION, name, State.WARNING, f"gave {frames} of {_FRAMES} frames")
    return Finding(_SECTION, name, State.OK, "decodes")
