"""One video stream's packets into frames in their order of presentation, and what became of the stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from posestream.stages.source.codec import DecodeRate, StreamCodec
from posestream.stages.source.pending import Pending
from posestream.stages.source.stamp import Stamp, now

__all__ = ["Decoded", "Decoder", "frame_rate", "video_stream"]

#: Rate that is taken for granted where a stream has neither timestamps nor a rate, in frames per second.
_RATE_GUESS = Fraction(25)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame as the decoder gave it; `frame` is None for a packet that could not be decoded."""

    frame: VideoFrame | None
    #: In units of the stream's time base, and always growing.
    pts: int
    captured: Stamp
    #: What the stream itself told, which may jump; None where it told nothing.
    told_pts: int | None = None


def video_stream(container: InputContainer) -> VideoStream | None:
    """Choose the stream to read: FFmpeg's best one, but never an album cover."""
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def frame_rate(stream: VideoStream) -> Fraction | None:
    """Tell a stream's frames per second; None where nothing tells.

    Formats without times (raw H.264) have no average: FFmpeg then gives a default of its own as that, but reads the
    true rate in the stream.
    """
    rates = (stream.average_rate, stream.guessed_rate)
    if Flags.no_timestamps in Flags(stream.container.format.flags):
        rates = rates[::-1]
    return rates[0] or rates[1] or None


class Decoder:
    """Decodes one stream from where its container stands to its end.

    Args:
        container: an open container; it stays the caller's to close.
        stream: the stream to decode.
        is_live: low delay instead of throughput.
        clock: reads both clocks when a packet comes off the source.
        patience_s: how long a live stream may give next to no picture although packets come.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        is_live: bool = False,
        clock: Callable[[], Stamp] = now,
        patience_s: float = math.inf,
    ) -> None:
        self._container = container
        self._stream = stream
        self._clock = clock
        self._pending = Pending()
        self._last_pts: int | None = None
        #: Video packets that came off the container, decodable or not.
        self.packet_count = 0
        #: Where the last packet's or frame's showing ends, in units of the time base; None before the first.
        self.end_pts: int | None = None
        #: How long the packets last by the order in which they are stored, in units of the time base; None where the
        #: first or last one has no such time.
        self.stored_pts: int | None = None
        self._first_dts: int | None = None
        #: The longest time between two frames that followed each other, in units of the time base.
        self.longest_gap = 0
        #: True where the last packet was cut short.
        self.is_cut = False
        #: What stopped the reading before the source's end.
        self.read_error: FFmpegError | None = None
        #: Why it was given up although more might come, in words; empty where it was not.
        self.given_up = ""
        self._codec = StreamCodec(stream, is_live=is_live)
        self._rate = DecodeRate(patience_s)

    def decoded(self) -> Iterator[Decoded]:
        """Give everything to the end; what ends it early is left in `read_error` or `given_up`."""
        for packet in self._packets():
            stamp = self._clock()
            frames = self._decode(packet, stamp)
            yield from frames
            count = sum(decoded.frame is not None for decoded in frames)
            if self._codec.is_lost:
                self.given_up = "its codec has changed"
            elif self._rate.is_lost(stamp.mono_s, count, is_refused=count < len(frames)):
                self.given_up = f"next to nothing of it could be decoded for {self._rate.patience_s:g} s"
            if self.given_up:
                return
        try:
            rest = self._codec.decode(None)
        except FFmpegError:
            rest = []
        for frame in rest:
            yield from self._of(frame, self._clock())
        yield from self._lost()

    def step_pts(self) -> int:
        """Tell how long one frame lasts at the stream's rate, in units of the time base, at least 1."""
        rate = frame_rate(self._stream) or _RATE_GUESS
        return max(1, round(1 / (rate * (self._stream.time_base or Fraction(1, 1000)))))

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                self.read_error = error
                return
            if packet is None:
                return
            # An empty packet tells the decoder that the end has come, and only the end does (AVI pads with them).
            if packet.size:
                yield packet

    def _decode(self, packet: Packet[VideoStream], stamp: Stamp) -> list[Decoded]:
        self._note(packet, stamp)
        try:
            frames = self._codec.decode(packet)
        except FFmpegError:
            when = _time_of(packet)
            if when is None:
                return [Decoded(None, self._ordered(None), stamp)]
            self._pending.fail(when, stamp)
            # Where frames leave in the order of their packets, none can come any more that would be before it.
            return [] if self._codec.reorders and not self._pending.is_full else self._lost(when + 1)
        return [decoded for frame in frames for decoded in self._of(frame, stamp)]

    def _note(self, packet: Packet[VideoStream], stamp: Stamp) -> None:
        if not self.packet_count:
            self._first_dts = packet.dts
        self.packet_count += 1
        self.stored_pts = None
        if packet.dts is not None and self._first_dts is not None:
            self.stored_pts = packet.dts - self._first_dts + (packet.duration or 0)
        self.is_cut = packet.is_corrupt
        when = _time_of(packet)
        if when is not None:
            self._pending.add(when, stamp)
            self._reach(when + (packet.duration or 0))

    def _reach(self, pts: int) -> None:
        self.end_pts = pts if self.end_pts is None else max(pts, self.end_pts)

    def _of(self, frame: VideoFrame, stamp: Stamp) -> list[Decoded]:
        """Give a frame that came, after those that did not come and would have been before it."""
        when = frame.pts
        if when is None:
            # Packets that tell only when they are decoded (AVI): pictures leave in order of presentation, so the
            # earliest time still waiting is this one's. The frame's own `dts` is late by the decoder's delay.
            earliest = self._pending.earliest
            when = frame.dts if earliest is None else earliest
        if when is None:
            return [Decoded(frame, self._ordered(None), stamp)]
        lost = self._lost(when)
        return [*lost, Decoded(frame, self._ordered(when), self._pending.take(when, stamp), when)]

    def _lost(self, when: int | None = None) -> list[Decoded]:
        return [Decoded(None, self._ordered(pts), stamp, pts) for pts, stamp in self._pending.lost(when)]

    def _ordered(self, pts: int | None) -> int:
        """Give a frame's timestamp, made up from the rate where it is missing or not after the one before."""
        last = self._last_pts
        if last is None:
            pts = 0 if pts is None else pts
        elif pts is None or pts <= last:
            step = self.step_pts()
            # A repeated time moves on by the least step, so that it cannot overtake the right ones that follow.
            pts = last + (1 if pts is not None and last - pts < step else step)
        if last is not None:
            self.longest_gap = max(self.longest_gap, pts - last)
        self._last_pts = pts
        self._reach(pts)
        return pts


def _time_of(packet: Packet[VideoStream]) -> int | None:
    """Tell when a packet's picture is shown or, where it does not say that, decoded."""
    return packet.pts if packet.pts is not None else packet.dts
