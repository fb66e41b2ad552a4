"""Rendered video as an H.264 MP4 that plays even after the process was killed, with the source's timing and sound."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
from av import FFmpegError, time_base
from av import open as open_media
from av.video.stream import VideoStream
from numpy.typing import NDArray

from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.items import Frame
from posestream.stages.output.audio import SoundCopy
from posestream.stages.output.held import Held
from posestream.stages.output.media_file import MediaFile
from posestream.stages.output.sink import Ended, make_folder, output_errors
from posestream.stages.output.timeline import Timeline
from posestream.stages.output.video_parts import further_parts, hold_parts
from posestream.stages.output.yuv import YuvCanvas

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["VideoSettings", "VideoSink"]

_log = logging.getLogger(__name__)

#: x264's presets, each with how many frames it looks ahead.
_LOOKAHEADS = {
    "ultrafast": 0,
    "superfast": 0,
    "veryfast": 10,
    "faster": 20,
    "fast": 30,
    "medium": 40,
    "slow": 50,
    "slower": 60,
    "veryslow": 60,
}
#: The largest constant rate factor of 8-bit x264.
_MOST_CRF = 51
#: A fragment holds so much; a kill loses at most this and what the encoder looks ahead.
_FRAGMENT_S = 1
#: The encoder looks ahead no further than this, whatever its preset, for the same reason.
_LOOKAHEAD_S = 0.5
#: From one picture that players can jump to, to the next.
_KEY_INTERVAL_S = 2
#: What the encoder is told where the frame rate is unknown; frames keep their own times.
_GUESSED_RATE = Fraction(25)
#: More encoder threads bring little at these sizes, and each holds a frame back.
_MOST_THREADS = 4

#: MP4 in fragments, each complete in itself. The index waits for the first fragment, so that it can tell the encoder's
#: and the sound's delay. Packets of one stream wait for the other's no longer than a fragment lasts, and nothing stays
#: in this process's buffers.
_CONTAINER_OPTIONS = {
    "movflags": "frag_keyframe+delay_moov+default_base_moof",
    "frag_duration": str(_FRAGMENT_S * time_base),
    "max_interleave_delta": str(_FRAGMENT_S * time_base),
    "flush_packets": "1",
}


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """Where and how a video is written.

    Raises:
        SettingsError: a value is out of range.
    """

    path: Path
    #: x264's speed, from ultrafast to veryslow: the slower, the smaller the file.
    preset: str = "veryfast"
    #: x264's constant rate factor, 0 (lossless) to 51 (worst).
    crf: int = 23
    #: How long each still picture is shown, in seconds.
    picture_s: float = 1.0
    #: False leaves the file's sound out.
    has_sound: bool = True
    #: Encoder threads; 0: as many as there are processors, 4 at most.
    threads: int = 0

    def __post_init__(self) -> None:
        if self.path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
            raise SettingsError(f"video output {self.path} is no MP4; give it a name that ends with .mp4")
        if self.preset not in _LOOKAHEADS:
            raise SettingsError(f"video preset {self.preset!r} is unknown; choose one of {', '.join(_LOOKAHEADS)}")
        if not 0 <= self.crf <= _MOST_CRF:
            raise SettingsError(f"video crf {self.crf} is out of range; choose 0 (lossless) to {_MOST_CRF} (worst)")
        if not 0.001 <= self.picture_s <= 3600.0:
            raise SettingsError(f"video picture time {self.picture_s} s is out of range; choose 0.001 to 3600")
        if self.threads < 0:
            raise SettingsError(f"video threads {self.threads} is out of range; choose 0 (automatic) or more")


class VideoSink:
    """Writes pictures as H.264, each at its source's own time counted from the first, and copies a file's sound.

    The first picture's size is the video's, less one row or column where it is odd. After a drop the plain picture
    is written, which keeps the timing; a frame without any picture leaves a gap that the one before fills. The video
    ends before the first frame whose turn did not come before everything was stopped.

    A video that is gone on with has further files, NAME.part2.mp4, NAME.part3.mp4 …, since no encoder can go on where
    another one was killed. Each begins at 0, with the source's times counted from its own first picture, and has the
    sound from there on.
    """

    def __init__(self, settings: VideoSettings) -> None:
        self._settings = settings
        self._info: SourceInfo | None = None
        self._file: MediaFile | None = None
        self._recording: _Recording | None = None
        self._has_pictures = False
        self._was_stopped = False
        self._goes_on = False
        #: The file to write, and the parts before it.
        self._path = settings.path
        self._parts_before: tuple[Path, ...] = ()
        #: How many pictures those hold, and how many of these are still to come.
        self._held = 0
        self._to_skip = 0

    @property
    def name(self) -> str:
        """The file, as people call it."""
        return f"video {self._settings.path}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, once it has pictures, after the parts before it."""
        return (*self._parts_before, self._path) if self._has_pictures else self._parts_before

    def resume(self, source: str, since_s: float) -> Held:  # noqa: ARG002  # a video does not tell its source
        """Cut each part after its last picture that is whole with all before it, and go on in a further part.

        Raises:
            OutputError: a part cannot be read or cut, or is no video of an earlier run.
        """
        held = hold_parts(self._settings.path, since_s)
        self._goes_on = True
        self._parts_before, self._held, self._path = held.paths, held.pictures, held.next_path
        return Held(self._lacks)

    def open(self, info: SourceInfo) -> None:
        """Create the file, and its folder where missing; what goes on has a further file from its first picture on.

        Raises:
            OutputError: the file cannot be created.
        """
        self._info = info
        self._to_skip = 0 if info.is_live else self._held - info.first_picture
        if not self._goes_on:
            self._file = self._created()

    def write(self, ended: Ended, picture_bgr: NDArray[np.uint8] | None) -> None:
        """Encode one picture, unless it is held.

        Raises:
            OutputError: it could not be encoded or written.
        """
        if self._info is None:
            raise ValueError("VideoSink.write before open or after close")
        self._was_stopped |= ended.was_stopped
        if picture_bgr is None or self._was_stopped:
            return
        if self._to_skip > 0:
            self._to_skip -= 1
            return
        self._file = self._file or self._created()
        with _encoder_errors(self._path):
            if self._recording is None:
                self._recording = _Recording(self._settings, self._info, self._file, ended.frame)
            self._recording.write(ended.frame, picture_bgr)
            self._file.check()
        self._has_pictures = True

    def close(self) -> None:
        """Write what the encoder holds back and finish the file; closing again does nothing.

        Raises:
            OutputError: it could not be written.
        """
        file, self._file, self._info = self._file, None, None
        if file is None:
            return
        recording, self._recording = self._recording, None
        with _encoder_errors(self._path):
            try:
                if recording is not None and file.error is None:
                    recording.close()
                    file.check()
            finally:
                # After a failure the file's end cannot be written either, and the first failure was told.
                if recording is not None:
                    recording.abandon()
                file.close()
        if recording is None:
            _log.warning("%s is not written: there was no picture", self._path)
            file.remove()

    def _created(self) -> MediaFile:
        """Create the file, without those parts of an earlier video that would be taken for parts of this one."""
        make_folder(self._path.parent)
        for part in further_parts(self._settings.path):
            if part not in (*self._parts_before, self._path):
                with output_errors(part):
                    part.unlink()
        with output_errors(self._path):
            return MediaFile(self._path)

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:
        """True for a frame whose picture comes after those that are held."""
        return frame.picture is not None and pictures_before >= self._held


class _Recording:
    """One open video, from its first frame on."""

    def __init__(self, settings: VideoSettings, info: SourceInfo, file: MediaFile, frame: Frame) -> None:
        # Still pictures have no clock; a millisecond is fine enough for the time they are shown.
        ticks_s = Fraction(1, 1000) if frame.pts is None else frame.time_base
        self._timeline = Timeline(ticks_s, info.rate, settings.picture_s, info.is_live)
        # The size of the source's first picture, which other parts of the video have too.
        self._canvas = YuvCanvas(info.width, info.height, info.color)
        self._container = open_media(file, "w", format="mp4", options=_CONTAINER_OPTIONS)
        rate = info.rate or (_GUESSED_RATE if frame.pts is not None else 1 / Fraction(settings.picture_s))
        self._stream = self._add_stream(settings, info, rate.limit_denominator(10_000))
        self._sound: SoundCopy | None = None
        if settings.has_sound and info.path is not None and frame.pts is not None:
            self._sound = SoundCopy.of(info.path, self._container, frame.pts * frame.time_base)

    def write(self, frame: Frame, picture_bgr: NDArray[np.uint8]) -> None:
        """Encode one picture, and copy the sound up to it."""
        ticks = self._timeline.ticks(frame)
        image = self._canvas.paint(picture_bgr)
        image.pts, image.time_base = ticks, self._timeline.time_base
        if not self._timeline.is_continuous:
            self._drop_sound()
        if self._sound is not None:
            self._container.mux(list(self._sound.until(ticks * self._timeline.time_base)))
        self._container.mux(self._stream.encode(image))

    def close(self) -> None:
        """Write what is held back, the sound up to the last picture's end, and the file's end."""
        if self._sound is not None:
            self._container.mux(list(self._sound.until(self._timeline.end_s)))
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Let go of everything, finished or not."""
        self._drop_sound()
        with suppress(FFmpegError, OSError):
            self._container.close()

    def _add_stream(self, settings: VideoSettings, info: SourceInfo, rate: Fraction) -> VideoStream:
        """Add the video stream, with the source's clock, shape and colours."""
        stream = self._container.add_stream("libx264", rate=rate, options=_encoder_options(settings, rate))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = self._canvas.width, self._canvas.height, "yuv420p"
        context.time_base = stream.time_base = self._timeline.time_base
        context.thread_count = settings.threads or min(_MOST_THREADS, os.cpu_count() or 1)
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        tags = self._canvas.tags
        context.colorspace, context.color_range = tags.colorspace, tags.color_range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        return stream

    def _drop_sound(self) -> None:
        """Copy no more sound."""
        if self._sound is not None:
            self._sound.close()
            self._sound = None


def _encoder_options(settings: VideoSettings, rate: Fraction) -> dict[str, str]:
    """Give x264's options."""
    lookahead = min(_LOOKAHEADS[settings.preset], max(1, int(_LOOKAHEAD_S * rate)))
    return {
        "preset": settings.preset,
        "crf": str(settings.crf),
        "g": str(min(300, max(12, round(_KEY_INTERVAL_S * rate)))),
        "rc-lookahead": str(lookahead),
    }


@contextmanager
def _encoder_errors(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into one line.

    Raises:
        OutputError: in place of any of them.
    """
    try:
        with output_errors(path):
            yield
    except FFmpegError as error:
        what = error.strerror or str(error)
        raise OutputError(f"cannot write {path}: the encoder failed ({what}); try another size or preset") from error
