"""What files, streams and cameras have in common as sources: everything that PyAV opens and decodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from posestream.stages.errors import SourceError
from posestream.stages.items import Frame, FrameKey
from posestream.stages.orientation import Orientation
from posestream.stages.picture import VideoPicture
from posestream.stages.source.decode import Decoded, Decoder, frame_rate, video_stream
from posestream.stages.source.frame_gate import FrameGate
from posestream.stages.source.live_clock import LIVE_TIME_BASE, LiveClock
from posestream.stages.source.name import derive_names, redacted
from posestream.stages.source.protocol import ClosedAtExit, SourceInfo
from posestream.stages.source.region import RegionOfInterest
from posestream.stages.source.settings import Policy, SourceSettings
from posestream.stages.source.stamp import Stamp, now
from posestream.stages.source.trouble import LinkError

__all__ = ["ContainerSource"]

#: A frame of a live source of which the newest wins is not inferred when it is older, in seconds.
_LIVE_MAX_AGE_S = 0.5


class ContainerSource(ClosedAtExit):
    """A source that PyAV reads; kinds tell how it is opened, where it begins and whether it ended as promised."""

    def __init__(self, settings: SourceSettings, *, is_live: bool, clock: Callable[[], Stamp] = now) -> None:
        self._settings = settings
        self._clock = clock
        self._name = settings.name or derive_names([settings.url])[0]
        self._is_live = is_live
        #: What the source is called in messages.
        self._label = redacted(settings.url)
        self._region = RegionOfInterest(settings.roi, self._name)
        self._container: InputContainer | None = None
        self._frames: Iterator[Decoded] = iter(())
        self._decoder: Decoder | None = None
        self._time_base = Fraction(1, 1000)
        self._times = LiveClock()

    @property
    def name(self) -> str:
        """Its name, `[a-z0-9_.-]+`."""
        return self._name

    @property
    def is_live(self) -> bool:
        """True where frames come by themselves and cannot wait; of a stream, known once it is open."""
        return self._is_live

    def __repr__(self) -> str:
        """Tell its kind, name and address."""
        return f"<{type(self).__name__} {self._name} {self._label}>"

    def open(self) -> SourceInfo:
        """Open it and decode its first picture, which alone knows how it is turned.

        Raises:
            SourceError: it is missing, unreadable, or has no picture.
        """
        self._container = self._open_container()
        try:
            return self._begin(self._container)
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[Frame]:
        """Give its frames once; see `Source.frames`.

        Raises:
            SourceError: it ended early or is damaged; raised after all that could be decoded was given.
        """
        limit, gate = self._settings.max_frames, FrameGate(self._settings.step, self._settings.fps)
        seq = 0
        while limit is None or seq < limit:
            decoded = next(self._frames, None)
            if decoded is None:
                if self._decoder is not None and self._decoder.given_up:
                    raise LinkError(f"{self._label}: {self._decoder.given_up}")
                self._check_ending()
                return
            pts = self._pts(decoded)
            if gate.takes(float(pts * self._frame_base)):
                yield self._frame(decoded, pts, seq)
                seq += 1

    def close(self) -> None:
        """Let go of the file or device; may be called more than once."""
        self._frames = iter(())
        self._decoder = None
        if self._container is not None:
            self._container.close()
            self._container = None

    # what kinds of sources tell

    def _open_container(self) -> InputContainer:
        """Open it, every error translated."""
        raise NotImplementedError

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[Decoded]:
        """Give what is decoded from the beginning that the settings ask for."""
        self._decoder = Decoder(
            container,
            stream,
            is_live=self._is_live,
            clock=self._clock,
            patience_s=self._settings.reconnect.stall_s if self._is_live else math.inf,
        )
        return self._decoder.decoded()

    def _check_ending(self) -> None:
        """Raise where the source ended before it should have."""

    def _promised(self, container: InputContainer, stream: VideoStream) -> tuple[int | None, float | None]:
        """Tell how many frames to expect, and how many seconds the whole source lasts."""
        del container, stream
        return None, None

    def _path(self) -> Path | None:
        return None

    # steps of opening

    def _begin(self, container: InputContainer) -> SourceInfo:
        stream = video_stream(container)
        if stream is None:
            raise SourceError(f"{self._label} has no video")
        if stream.codec_context is None:
            raise SourceError(f"{self._label} holds video of a kind that no decoder here knows")
        self._time_base = stream.time_base or self._time_base
        frames = self._decoded(container, stream)
        first: list[Decoded] = []
        for decoded in frames:
            first.append(decoded)
            if decoded.frame is not None:
                self._frames = chain(first, frames)
                picture = self._picture(decoded.frame)
                self._region.check(picture)
                return self._info(container, stream, picture)
        raise SourceError(self._nothing())

    def _nothing(self) -> str:
        """Tell that no picture came."""
        return f"{self._label} has no frame that can be decoded; the file seems to be damaged"

    def _info(self, container: InputContainer, stream: VideoStream, picture: VideoPicture) -> SourceInfo:
        count, duration_s = self._promised(container, stream)
        settings = self._settings
        if count is not None:
            count = None if settings.fps is not None else math.ceil(count / settings.step)
        if settings.max_frames is not None:
            count = settings.max_frames if count is None else min(settings.max_frames, count)
        keeps_newest = settings.policy is Policy.NEWEST or (settings.policy is Policy.AUTO and self._is_live)
        aspect = stream.sample_aspect_ratio or None
        return SourceInfo(
            name=self._name,
            width=picture.width,
            height=picture.height,
            rate=frame_rate(stream),
            frame_count=None if self._is_live and settings.max_frames is None else count,
            duration_s=duration_s,
            is_live=self._is_live,
            time_base=self._frame_base,
            path=self._path(),
            sample_aspect_ratio=1 / aspect if aspect and picture.is_turned else aspect,
            color=picture.tags,
            keeps_newest=keeps_newest,
            has_unread_sound=self._path() is None and not self._is_live and bool(container.streams.audio),
            max_age_s=_LIVE_MAX_AGE_S if keeps_newest and settings.max_age_s is None else settings.max_age_s,
        )

    @property
    def _frame_base(self) -> Fraction:
        """Seconds per unit of a frame's time."""
        return LIVE_TIME_BASE if self._is_live else self._time_base

    def _pts(self, decoded: Decoded) -> int:
        """Give a frame's time: a recording's own; of a live stream, whose clock may jump, what that clock means."""
        if not self._is_live:
            return decoded.pts
        told_s = None if decoded.told_pts is None else decoded.told_pts * self._time_base
        return self._times.ticks(told_s, decoded.captured.mono_s)

    def _picture(self, frame: VideoFrame) -> VideoPicture:
        """Give a decoded frame as an upright picture: as the stream says, and then as the settings say."""
        return VideoPicture(frame, Orientation.of_frame(frame).then_turned(self._settings.rotation))

    def _frame(self, decoded: Decoded, pts: int, seq: int) -> Frame:
        picture = None if decoded.frame is None else self._picture(decoded.frame)
        return Frame(
            key=FrameKey(self._name, seq),
            epoch=0,
            pts=pts,
            time_base=self._frame_base,
            captured_mono_s=decoded.captured.mono_s,
            captured_wall_s=decoded.captured.wall_s,
            width=picture.width if picture else 0,
            height=picture.height if picture else 0,
            picture=picture,
            region=None if picture is None else self._region.of(picture),
        )
