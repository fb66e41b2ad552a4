"""One open recording: H.264 with the source's timing and the file's sound, in fragments that survive a kill."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
from av import FFmpegError, time_base
from av import open as open_media
from av.video.stream import VideoStream
from numpy.typing import NDArray

from posestream.stages.items import Frame
from posestream.stages.output.audio import SoundCopy
from posestream.stages.output.media_file import MediaFile
from posestream.stages.output.timeline import Timeline
from posestream.stages.output.video_settings import LOOKAHEADS, VideoSettings
from posestream.stages.output.yuv import YuvCanvas

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["Recording"]

_log = logging.getLogger(__name__)

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


class Recording:
    """One open video, from its first frame on.

    Args:
        settings: how it is encoded.
        info: what the source tells of itself; the video has its first picture's size.
        file: what takes the bytes.
        frame: the first frame to come.
        comment: a word on the video, kept in it.
    """

    def __init__(
        self, settings: VideoSettings, info: SourceInfo, file: MediaFile, frame: Frame, comment: str = ""
    ) -> None:
        # Still pictures have no clock; a millisecond is fine enough for the time they are shown.
        ticks_s = Fraction(1, 1000) if frame.pts is None else frame.time_base
        self._timeline = Timeline(ticks_s, info.rate, settings.picture_s, info.is_live)
        # The size of the source's first picture, which other parts of the video have too.
        self._canvas = YuvCanvas(info.width, info.height, info.color)
        self._container = open_media(file, "w", format="mp4", options=_CONTAINER_OPTIONS)
        self._container.metadata["comment"] = comment
        rate = info.rate or (_GUESSED_RATE if frame.pts is not None else 1 / Fraction(settings.picture_s))
        self._stream = self._add_stream(settings, info, rate.limit_denominator(10_000))
        self._sound: SoundCopy | None = None
        if settings.has_sound and info.path is not None and frame.pts is not None:
            self._sound = SoundCopy.of(info.path, self._container, frame.pts * frame.time_base)
        elif settings.has_sound and info.has_unread_sound:
            _log.warning("%s: its sound is left out; only a local file's is copied into a video", info.name)

    def write(self, frame: Frame, picture_bgr: NDArray[np.uint8]) -> None:
        """Encode one picture, and copy the sound up to it.

        Raises:
            FFmpegError, OSError: it could not be encoded or written.
        """
        ticks = self._timeline.ticks(frame)
        image = self._canvas.paint(picture_bgr)
        image.pts, image.time_base = ticks, self._timeline.time_base
        if not self._timeline.is_continuous:
            self._drop_sound()
        if self._sound is not None:
            self._container.mux(list(self._sound.until(ticks * self._timeline.time_base)))
        self._container.mux(self._stream.encode(image))

    def close(self) -> None:
        """Write what is held back, the sound up to the last picture's end, and the file's end.

        Raises:
            FFmpegError, OSError: it could not be encoded or written.
        """
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
    lookahead = min(LOOKAHEADS[settings.preset], max(1, int(_LOOKAHEAD_S * rate)))
    return {
        "preset": settings.preset,
        "crf": str(settings.crf),
        "g": str(min(300, max(12, round(_KEY_INTERVAL_S * rate)))),
        "rc-lookahead": str(lookahead),
    }
