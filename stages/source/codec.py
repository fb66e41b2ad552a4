"""Which codec a stream's packets have, and the decoder for it: a live stream may change it and go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags, ThreadType
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

__all__ = ["DecodeRate", "StreamCodec"]

#: Pictures larger than this (1080p with its padding rows) are decoded by two threads. Measured on two cores, per frame:
#: VP9 1768×994 takes 6 to 7 ms with any setting, a third of an inference; H.264 4K 13 ms on one thread, 10 ms on two
#: for 15 to 20 % more CPU, which is worth it only where decoding could become the bottleneck.
_ONE_THREAD_PX = 1920 * 1088
#: Filters of FFmpeg that take one codec each. PyAV shows which codec a stream had when it was opened; which one the
#: demuxer found since (a new table of a transport stream) is seen only by what refuses others. One look takes 3 µs.
_FILTERS = {
    "h264": "h264_metadata",
    "hevc": "hevc_metadata",
    "mpeg2video": "mpeg2_metadata",
    "mpeg4": "mpeg4_unpack_bframes",
    "vvc": "vvc_metadata",
    "av1": "av1_metadata",
    "vp9": "vp9_metadata",
}
#: A stream of which fewer than one picture comes out of so many packets is not decoded but guessed at.
_MOST_PACKETS = 20
#: Nor is one of which a larger part of the packets is refused: H.264's decoder makes pictures of noise too (measured:
#: of MPEG-2 it refuses four packets of five, and gives an old picture for each sixth).
_MOST_REFUSED = 0.5


class StreamCodec:
    """Decodes a stream's packets; where it is live, by another decoder as soon as the stream has another codec.

    Args:
        stream: of an open container.
        is_live: low delay instead of throughput.
    """

    def __init__(self, stream: VideoStream, *, is_live: bool) -> None:
        self._stream = stream
        self._is_live = is_live
        self._context: VideoCodecContext = stream.codec_context
        self._name = self._context.name
        #: True once the stream has a codec that nothing here can follow.
        self.is_lost = False
        _set_threads(self._context, is_live=is_live)

    def __repr__(self) -> str:
        return f"<StreamCodec {self._name} live={self._is_live} lost={self.is_lost}>"

    @property
    def reorders(self) -> bool:
        """True if pictures may be shown in another order than that of their packets."""
        return bool(self._context.has_b_frames)

    def decode(self, packet: Packet[VideoStream] | None) -> Sequence[VideoFrame]:
        """Give the pictures that a packet completes; None asks for those that are left.

        Raises:
            FFmpegError: it cannot be decoded.
        """
        if self._is_live and packet is not None:
            self._follow()
        return self._context.decode(packet)

    def _follow(self) -> None:
        if self._name not in _FILTERS or self._is_codec(self._name):
            return
        name = next((name for name in _FILTERS if self._is_codec(name)), None)
        if name is None or self._context.is_hwaccel:
            # Whoever connects anew finds out all about it, and whether the hardware can decode it.
            self.is_lost = True
            return
        self._name, self._context = name, cast("VideoCodecContext", VideoCodecContext.create(name, "r"))
        _set_threads(self._context, is_live=True)

    def _is_codec(self, name: str) -> bool:
        """True if the demuxer says that the stream has this codec now."""
        try:
            BitStreamFilterContext(_FILTERS[name], self._stream)
        except (FFmpegError, ValueError):
            return False
        return True


class DecodeRate:
    """Tells streams of which packets come and next to no pictures: the decoder is not one for them.

    Args:
        patience_s: how long that may last.
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._since_s: float | None = None
        self._packets = self._frames = self._refused = 0

    def __repr__(self) -> str:
        return f"<DecodeRate {self._frames} pictures of {self._packets} packets, {self._refused} refused>"

    def is_lost(self, now_s: float, frames: int, *, is_refused: bool = False) -> bool:
        """Note a packet, its pictures, and whether it was refused; True once too few pictures have come for too long.

        It is counted from the first picture on: for that one a source has its own time.
        """
        if self._since_s is None:
            self._since_s = now_s if frames else None
            return False
        self._packets += 1
        self._frames += frames
        self._refused += is_refused
        if now_s - self._since_s < self.patience_s:
            return False
        is_lost = self._frames * _MOST_PACKETS < self._packets or self._refused > _MOST_REFUSED * self._packets
        self._since_s, self._packets, self._frames, self._refused = now_s, 0, 0, 0
        return is_lost


def _set_threads(context: VideoCodecContext, *, is_live: bool) -> None:
    if context.is_open:
        return
    is_large = context.width * context.height > _ONE_THREAD_PX
    # Frame threads hold a frame back for each thread, which a live source must not.
    context.thread_type = ThreadType.SLICE if is_live else ThreadType.AUTO
    context.thread_count = 2 if is_large else 1
    if is_live:
        context.flags |= Flags.low_delay
