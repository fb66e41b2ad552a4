"""A clip as the RTSP server sends it: access units of H.264 without B-frames, as cameras encode, or JPEG pictures."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
from av.codec import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from posestream.stages.source.opening import SourceSettings, open_source

__all__ = ["pictures_of", "write_units"]

#: What stands before each access unit in the file: its length in bytes.
_LENGTH = struct.Struct("<I")


def write_units(path: Path, pictures: Iterable[NDArray[np.uint8]], rate: int = 25, key_interval: int = 25) -> Path:
    """Encode BGR pictures of one even size into a file of access units: H.264 in NAME.units, JPEG in NAME.jpegs."""
    make_encoder = {".units": _h264, ".jpegs": _jpeg}[path.suffix]
    encoder: VideoCodecContext | None = None
    with path.open("wb") as file:
        for number, picture in enumerate(pictures):
            encoder = encoder or make_encoder(picture, rate, key_interval)
            frame = VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=encoder.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            _write(file.write, encoder.encode(frame))
        if encoder is not None:
            _write(file.write, encoder.encode(None))
    return path


def pictures_of(clip: str, width: int, height: int, count: int) -> Iterable[NDArray[np.uint8]]:
    """Give the first pictures of a video, scaled."""
    with open_source(SourceSettings(clip, max_frames=count)) as source:
        source.open()
        for frame in source.frames():
            if frame.picture is not None:
                yield frame.picture.scaled_bgr(width, height)


def _encoder(name: str, pixels: str, picture: NDArray[np.uint8], rate: int) -> VideoCodecContext:
    encoder = CodecContext.create(name, "w")
    assert isinstance(encoder, VideoCodecContext)  # noqa: S101 - both are video
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt = pixels
    encoder.time_base, encoder.framerate = Fraction(1, rate), Fraction(rate)
    return encoder


def _jpeg(picture: NDArray[np.uint8], rate: int, _key_interval: int) -> VideoCodecContext:
    encoder = _encoder("mjpeg", "yuvj420p", picture, rate)
    # RTP has no place for tables of one's own.
    encoder.options = {"huffman": "default"}
    return encoder


def _h264(picture: NDArray[np.uint8], rate: int, key_interval: int) -> VideoCodecContext:
    encoder = _encoder("libx264", "yuv420p", picture, rate)
    # One slice a picture: GStreamer would send its parameters anew before each slice, which then seem to be pictures.
    encoder.thread_count = 1
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "g": str(key_interval), "sc_threshold": "0"}
    return encoder


def _write(write: Callable[[bytes], int], packets: Iterable[Packet[VideoStream]]) -> None:
    for packet in packets:
        data = bytes(packet)
        write(_LENGTH.pack(len(data)) + data)
