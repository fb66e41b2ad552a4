"""A video file as a source: the part of it that was asked for, and whether it held what its header promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import open as open_media
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from posestream.stages.errors import SourceError
from posestream.stages.source.container import ContainerSource
from posestream.stages.source.decode import Decoded
from posestream.stages.source.ending import Promise, told_end
from posestream.stages.source.hardware import accelerator
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp, now
from posestream.stages.source.transport_stream import file_ends_in_mid_packet

__all__ = ["VideoFileSource"]

#: FFmpeg's readers of text and of text-mode art, which take any file for a picture of its letters.
_TEXT_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})


class VideoFileSource(ContainerSource):
    """Frames of a local video file."""

    def __init__(self, settings: SourceSettings, clock: Callable[[], Stamp] = now) -> None:
        super().__init__(settings, is_live=False, clock=clock)
        self._file = Path(settings.url)
        self._promise = Promise()

    def _path(self) -> Path | None:
        return self._file

    def _open_container(self) -> InputContainer:
        _check_readable(self._file)
        try:
            # "file:" keeps FFmpeg from taking a colon in the name for a protocol.
            container = open_media(
                f"file:{self._file}",
                mode="r",
                metadata_errors="ignore",
                hwaccel=accelerator(self._settings.hwaccel),
            )
        except (FFmpegError, ValueError) as error:
            raise SourceError(f"{self._label} is not a video that can be read, or it is damaged or cut off") from error
        except RuntimeError as error:
            # PyAV's own complaint about a hardware decoder that does not fit the video.
            raise SourceError(f"{self._label}: {error}") from error
        if container.format.name in _TEXT_FORMATS:
            container.close()
            raise SourceError(f"{self._label} is not a video but text")
        return container

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[Decoded]:
        self._promise = Promise.of(container, stream)
        start_s = self._settings.start_s
        if start_s <= 0:
            yield from super()._decoded(container, stream)
            return
        # A microsecond is what people can mean; the float's own digits would round 1.1 s up to the next frame.
        start = Fraction(start_s).limit_denominator(1_000_000)
        first_pts = self._promise.first_pts + ceil(start / self._time_base)
        for attempt_pts in (first_pts, self._promise.first_pts):
            _seek(container, stream, attempt_pts)
            frames = super()._decoded(container, stream)
            first = next(frames, None)
            # Without an index a seek can end behind its aim; then all before it is decoded instead.
            if first is not None and first.pts <= first_pts:
                break
        if first is not None and first.pts >= first_pts:
            yield first
        yield from (decoded for decoded in frames if decoded.pts >= first_pts)

    def _promised(self, container: InputContainer, stream: VideoStream) -> tuple[int | None, float | None]:
        del container, stream
        return self._promise.frame_count(self._settings.start_s), self._promise.duration_s

    def _check_ending(self) -> None:
        if self._decoder is not None:
            fault = told_end(self._promise, self._decoder, is_whole=self._settings.start_s <= 0)
            if not fault and self._promise.is_endless and self._ends_in_mid_packet():
                fault = "it ends in the midst of a packet and seems to be cut off"
            if fault:
                raise SourceError(f"{self._label} ended early: {fault}")

    def _ends_in_mid_packet(self) -> bool:
        """True if a transport stream's last packet is only begun."""
        return file_ends_in_mid_packet(self._file)

    def _nothing(self) -> str:
        duration_s, start_s = self._promise.duration_s, self._settings.start_s
        if start_s > 0:
            lasts = "" if duration_s is None else f" (it lasts {duration_s:.1f} s)"
            return f"{self._label} has no frame at or after its start of {start_s:g} s{lasts}"
        return super()._nothing()


def _check_readable(path: Path) -> None:
    """Raise where there is no file with something in it that can be read."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise SourceError(f"{path} is empty")
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise SourceError(f"{path} is a folder, not a video") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _seek(container: InputContainer, stream: VideoStream, pts: int) -> None:
    try:
        container.seek(pts, stream=stream)
    except FFmpegError:
        # What cannot be sought in is decoded from where it stands, which is its beginning.
        return
