"""A URL as a source: a live stream, or a recording that is read over the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import open as open_media
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from posestream.stages.errors import SourceError
from posestream.stages.source.decode import Decoded, Decoder
from posestream.stages.source.protocol import SourceSettings
from posestream.stages.source.video import VideoFileSource

__all__ = ["StreamSource"]

#: Schemes that only carry what happens now. Of the others (http, file …) what has a duration is a recording.
_LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp", "whep"})
#: Seconds to wait for the stream to open, and for each read.
_OPEN_TIMEOUT_S, _READ_TIMEOUT_S = 10.0, 10.0
#: FFmpeg's options for least delay; RTP over TCP loses no packets and passes firewalls.
_LIVE_OPTIONS = {"fflags": "nobuffer"}
_RTSP_OPTIONS = {**_LIVE_OPTIONS, "rtsp_transport": "tcp"}


class StreamSource(VideoFileSource):
    """Frames from an address with a scheme."""

    def __init__(self, settings: SourceSettings) -> None:
        super().__init__(settings)
        self._scheme = settings.url.partition("://")[0].lower()
        self._is_live = self._scheme in _LIVE_SCHEMES

    def _path(self) -> Path | None:
        return None

    def _open_container(self) -> InputContainer:
        options = _RTSP_OPTIONS if self._scheme.startswith("rtsp") else _LIVE_OPTIONS if self._is_live else {}
        try:
            container = open_media(
                self._settings.url,
                mode="r",
                options=dict(options),
                timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S),
                metadata_errors="ignore",
            )
        except (FFmpegError, ValueError) as error:
            # Only the reason is told, and no cause is kept: both would repeat the address with its password.
            reason = getattr(error, "strerror", None) or "the address is not understood"
            raise SourceError(f"{self._label} cannot be opened: {reason}") from None
        self._is_live = self._is_live or container.duration is None
        return container

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[Decoded]:
        if not self._is_live:
            return super()._decoded(container, stream)
        self._decoder = Decoder(container, stream, is_live=True)
        return self._decoder.decoded()

    def _check_ending(self) -> None:
        if not self._is_live:
            super()._check_ending()
        elif self._decoder is not None and self._decoder.read_error is not None:
            raise SourceError(f"{self._label} broke off: {self._decoder.read_error.strerror}")

    def _nothing(self) -> str:
        return f"{self._label} gave no frame that can be decoded" if self._is_live else super()._nothing()
