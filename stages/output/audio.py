"""A file's sound, copied packet by packet beside a recording of its pictures."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import FFmpegError, time_base
from av import open as open_media
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet

__all__ = ["SoundCopy"]

_log = logging.getLogger(__name__)

#: Codecs that MP4 holds and players expect there.
_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
#: Sought to so much before the origin, because a seek may land late in the sound.
_SEEK_MARGIN_S = 2
#: What comes along from before the origin, and the first packet after it: one that lasts over the origin, and the one
#: that its decoding leans on.
_PACKETS_BEFORE = 3


class SoundCopy:
    """Hands over a file's sound up to a time, on the recording's clock. It never makes a recording fail.

    Args:
        container: the file, opened for this alone; it is closed with this.
        source: its sound.
        target: where the sound goes.
        origin_s: what becomes 0, on the file's own clock.
    """

    def __init__(self, container: InputContainer, source: AudioStream, target: AudioStream, origin_s: Fraction) -> None:
        self._container = container
        self._source = source
        self._target = target
        self._origin_s = origin_s
        self._filter = _adts_filter(source)
        self._packets = self._read()
        self._next = next(self._packets, None)

    @classmethod
    def of(cls, path: Path, output: OutputContainer, origin_s: Fraction) -> Self | None:
        """Add a file's first sound to an output that has not begun; None where there is none that MP4 holds."""
        try:
            # "file:" keeps FFmpeg from taking a colon in the name for a protocol.
            container = open_media(f"file:{path}")
        except (FFmpegError, OSError) as error:
            _log.warning("the sound of %s is left out: %s", path, error)
            return None
        source = next(iter(container.streams.audio), None)
        if source is not None and source.codec_context.name in _CODECS:
            return cls(container, source, output.add_stream_from_template(source), origin_s)
        if source is not None:
            codec = source.codec_context.name
            _log.warning("the sound of %s is left out: players expect no %s in MP4; make it AAC first", path, codec)
        container.close()
        return None

    def until(self, end_s: Fraction) -> Iterator[Packet[AudioStream]]:
        """Hand over the packets that begin before a time of the recording, in order."""
        while self._next is not None and _begin_s(self._next) < end_s:
            yield self._next
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Let go of the file."""
        self._next = None
        self._container.close()

    def _read(self) -> Iterator[Packet[AudioStream]]:
        """Read the file's packets from the origin on, put onto the recording's clock.

        Those just before the origin come along: a decoder needs them to begin cleanly at the origin.
        """
        try:
            if self._origin_s > _SEEK_MARGIN_S:
                self._container.seek(int((self._origin_s - _SEEK_MARGIN_S) * time_base))
            before: deque[Packet[AudioStream]] = deque(maxlen=_PACKETS_BEFORE)
            last_dts = None
            for packet in self._container.demux(self._source):
                # 1: the end. 2: times that run backwards, which a damaged file may have and MP4 may not.
                if packet.pts is None or packet.dts is None or (last_dts is not None and packet.dts <= last_dts):
                    continue
                last_dts = packet.dts
                origin = round(self._origin_s / packet.time_base)
                packet.pts -= origin
                packet.dts -= origin
                before.append(packet)
                if packet.pts >= 0:
                    yield from self._targeted(before)
                    before.clear()
        except (FFmpegError, OSError) as error:
            _log.warning("the sound of %s is left out from here on: %s", self._container.name, error)

    def _targeted(self, packets: Iterable[Packet[AudioStream]]) -> Iterator[Packet[AudioStream]]:
        """Make packets ones of the output."""
        for packet in packets:
            for filtered in self._filter.filter(packet) if self._filter else [packet]:
                filtered.stream = self._target
                yield filtered


def _adts_filter(source: AudioStream) -> BitStreamFilterContext | None:
    """Give a filter that takes off the header of each AAC packet of a broadcast, which MP4 has once for all."""
    has_headers = source.codec_context.name == "aac" and not source.codec_context.extradata
    return BitStreamFilterContext("aac_adtstoasc", source) if has_headers else None


def _begin_s(packet: Packet[AudioStream]) -> Fraction:
    """Give a packet's place in the order of writing, in seconds."""
    return (packet.dts or 0) * packet.time_base
