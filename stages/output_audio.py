"""A file's sound, copied packet by packet beside a recording of its pictures."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import FFmpegError, time_base
from av import open as open_media
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

__all__ = ["SoundCopy"]

_log = logging.getLogger(__name__)

#: Codecs that MP4 holds and players expect there.
_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
#: Sought to so much before the origin, because a seek may land late in the sound.
_SEEK_MARGIN_S = 2


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
        self._packets = self._read()
        self._next = next(self._packets, None)

    @classmethod
    def of(cls, path: Path, output: OutputContainer, origin_s: Fraction) -> Self | None:
        """Add a file's first sound to an output that has not begun; None where there is none that MP4 holds."""
        try:
            container = open_media(str(path))
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
        self._packets.close()
        self._container.close()

    def _read(self) -> Generator[Packet[AudioStream]]:
        """Read the file's packets from the origin on, put onto the recording's clock.

        The packet before the origin comes along: a decoder needs it to begin cleanly at the origin.
        """
        try:
            if self._origin_s > _SEEK_MARGIN_S:
                self._container.seek(int((self._origin_s - _SEEK_MARGIN_S) * time_base))
            for packet in self._container.demux(self._source):
                if packet.pts is None or packet.dts is None:
                    continue
                origin = round(self._origin_s / packet.time_base)
                if packet.pts + 2 * (packet.duration or 0) < origin:
                    continue
                packet.pts -= origin
                packet.dts -= origin
                packet.stream = self._target
                yield packet
        except (FFmpegError, OSError) as error:
            _log.warning("the sound of %s is left out from here on: %s", self._container.name, error)


def _begin_s(packet: Packet[AudioStream]) -> Fraction:
    """Give a packet's place in the order of writing, in seconds."""
    return (packet.dts or 0) * packet.time_base
