"""An address with a scheme, or standard input, opened once: a live stream, or a recording over the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import open as open_media
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from posestream.stages.errors import SourceError
from posestream.stages.picture import VideoPicture
from posestream.stages.redact import is_url
from posestream.stages.source.address import LIVE_SCHEMES, holds_port
from posestream.stages.source.container import ContainerSource
from posestream.stages.source.decode import Decoded
from posestream.stages.source.hardware import accelerator
from posestream.stages.source.playout import played_out
from posestream.stages.source.protocol import SourceInfo
from posestream.stages.source.settings import Kind, Policy, SourceSettings, Transport
from posestream.stages.source.stamp import Stamp, now
from posestream.stages.source.standard_input import STANDARD_INPUT, StandardInput
from posestream.stages.source.trouble import link_error
from posestream.stages.source.video import VideoFileSource

__all__ = ["StreamSource", "is_stream", "looks_live"]

#: Paths that end so are recordings unless a server or a user says otherwise.
_RECORDED_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".ogv"})
#: FFmpeg's own limit on a silent read is so much longer than the source's patience: it ends a reader that was given up.
#: Unlike PyAV's limit on reads it costs nothing, since no Python is called while FFmpeg waits.
_SLACK_S = 5.0
#: The longest limit on a silent read that FFmpeg takes of RTSP and UDP, whose microseconds have 31 bits, in seconds.
_LONGEST_LIMIT_S = 2_000.0
#: By scheme, the name that FFmpeg's limit on a silent read has, in microseconds. Tried with FFmpeg 8.0 (PyAV 18):
#: `timeout` of RTMP makes it listen instead, and `stimeout` is known no more.
_TIMEOUTS = {"rtsp": "timeout", "rtsps": "timeout", "udp": "timeout", "rtp": "timeout"}
_OTHER_TIMEOUT = "rw_timeout"
#: FFmpeg shall not watch 20 frames go by to learn their rate (0.3 s to open instead of 1.1 s), but it must not throw
#: away those that it watches either (`fflags=nobuffer`): the first key frame is among them.
_LIVE_OPTIONS = {"fpsprobesize": "0"}
#: A server that gave up a reader who was paused is asked for the rest, at once and after a second. Where it gives no
#: parts of files, FFmpeg does not ask.
_RECORDED_OPTIONS = {"reconnect": "1", "reconnect_delay_max": "2"}
#: A transport stream that begins anew with other numbers of its parts (another sender) is read on as the one before.
_CARRIED_OPTIONS = {"merge_pmt_versions": "1"}
#: Formats of FFmpeg's that come in pieces of several seconds, each at once.
_IN_PIECES = frozenset({"hls", "dash"})
#: So long a piece may be awaited, in seconds, where `stall_s` is shorter: three of ten seconds, which is long for one.
_PIECE_STALL_S = 30.0


def is_stream(url: str) -> bool:
    """True for an address with a scheme, and for standard input."""
    return is_url(url) or url == STANDARD_INPUT


def looks_live(settings: SourceSettings) -> bool:
    """Guess before anything is opened whether frames come by themselves."""
    if settings.kind is not Kind.AUTO:
        return settings.kind is Kind.LIVE
    scheme = settings.url.partition("://")[0].lower()
    if settings.url == STANDARD_INPUT:
        return False
    if scheme in ("http", "https"):
        return PurePath(urlsplit(settings.url).path).suffix.lower() not in _RECORDED_SUFFIXES
    return True


class StreamSource(VideoFileSource):
    """Frames from one connection to an address with a scheme."""

    def __init__(self, settings: SourceSettings, clock: Callable[[], Stamp] = now) -> None:
        super().__init__(settings, clock)
        self._input: StandardInput | None = None
        if settings.url == STANDARD_INPUT:
            self._input, self._label = StandardInput(), "standard input"
        self._scheme = settings.url.partition("://")[0].lower()
        self._is_live = settings.kind is Kind.LIVE or (settings.kind is Kind.AUTO and self._scheme in LIVE_SCHEMES)

    def _path(self) -> Path | None:
        return None

    def _open_container(self) -> InputContainer:
        settings = self._settings
        try:
            container = open_media(
                self._input or settings.url,
                mode="r",
                options=self._options(),
                # Without a limit on reads: it would take Python's lock at each of FFmpeg's looks at the line.
                timeout=None if self._input else (settings.reconnect.connect_s, None),
                metadata_errors="ignore",
                hwaccel=accelerator(settings.hwaccel),
            )
        except (FFmpegError, ValueError, RuntimeError) as error:
            # PyAV's own complaint about a hardware decoder that does not fit the stream is a RuntimeError.
            raise link_error(self._label, settings.url, error) from None
        is_endless = container.duration is None and self._input is None
        self._is_live = self._is_live or (settings.kind is Kind.AUTO and is_endless)
        return container

    def _options(self) -> dict[str, str]:
        """Give FFmpeg's options."""
        scheme = self._scheme
        options: dict[str, str] = {}
        if self._input:
            return options
        limit_s = max(self._settings.reconnect.stall_s, self._settings.reconnect.connect_s) + _SLACK_S
        if scheme in _TIMEOUTS:
            limit_s = min(limit_s, _LONGEST_LIMIT_S)
        options[_TIMEOUTS.get(scheme, _OTHER_TIMEOUT)] = str(round(limit_s * 1_000_000))
        if looks_live(self._settings):
            options |= _LIVE_OPTIONS
        elif scheme in ("http", "https"):
            options |= _RECORDED_OPTIONS
        if holds_port(self._settings.url):
            options |= _CARRIED_OPTIONS
        if scheme.startswith("rtsp"):
            options["rtsp_transport"] = "udp" if self._settings.transport is Transport.UDP else "tcp"
        return options

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[Decoded]:
        if self._is_live:
            frames = ContainerSource._decoded(self, container, stream)
            is_played = container.format.name in _IN_PIECES
            return played_out(frames, float(self._time_base), self._clock) if is_played else frames
        if self._settings.policy is Policy.NEWEST:
            raise SourceError(f"{self._label} is a recording; the policy newest is for live sources (kind = live)")
        return super()._decoded(container, stream)

    def _info(self, container: InputContainer, stream: VideoStream, picture: VideoPicture) -> SourceInfo:
        info = super()._info(container, stream, picture)
        return replace(info, silence_s=_PIECE_STALL_S) if container.format.name in _IN_PIECES else info

    def _check_ending(self) -> None:
        if not self._is_live:
            super()._check_ending()
        elif self._decoder is not None and self._decoder.read_error is not None:
            raise link_error(self._label, self._settings.url, self._decoder.read_error, "broke off", is_new=False)

    def _ends_in_mid_packet(self) -> bool:
        return self._input is not None and self._input.ends_in_mid_packet()

    def _nothing(self) -> str:
        if self._is_live:
            return f"{self._label} gave no frame that can be decoded"
        error = self._decoder.read_error if self._decoder is not None else None
        if error is None:
            return super()._nothing()
        if self._input and self._container is not None and "mp4" in self._container.format.name:
            return (
                f"{self._label} cannot be read: it is cut off, or an MP4 of which the index stands at its end, which "
                "cannot be piped; give the file itself, or write it with FFmpeg's -movflags +faststart"
            )
        if not self._scheme.startswith("http"):
            return f"{self._label} cannot be read: {error.strerror}"
        # FFmpeg tells of such a server by the same errors as of a line that broke.
        return (
            f"{self._label} cannot be read: the connection broke, or its server gives no parts of files (HTTP ranges), "
            "which this file or its start needs; fetch the file first"
        )
