"""What a video file's header promises, and whether what came out of it kept the promise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import time_base as units_per_s
from av.container import InputContainer
from av.video.stream import VideoStream

from posestream.stages.source.decode import Decoder, frame_rate

__all__ = ["Promise", "told_end"]

#: Containers cut from endless streams, where broken packets at the ends are no damage.
_ENDLESS_FORMATS = frozenset({"mpegts", "mpeg", "mpegtsraw"})
#: A header may round: less than this is never missed, in seconds.
_SLACK_S = 0.5
#: The same as a share of the whole duration.
_SLACK_SHARE = 0.01
#: Containers whose durations are the time of the last frame's end, as FFmpeg writes them: video that begins at 5 s
#: and ends at 10 s "lasts" 10 s. Some other writers tell 5 s there, and of theirs less is asked than they hold.
_COUNT_FROM_ZERO = frozenset({"matroska,webm"})
#: Matroska's own duration of one track, "00:00:07.666000000", which other tracks' lengths do not blur.
_TRACK_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a file's header says of its video stream; what it does not say is None."""

    #: First timestamp, in units of the time base.
    first_pts: int = 0
    time_base: Fraction = Fraction(1, 1000)
    rate: Fraction | None = None
    frames: int | None = None
    #: How long the video lasts, only where nothing else explains the number.
    video_s: float | None = None
    #: How long the file lasts.
    duration_s: float | None = None
    is_endless: bool = False

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream) -> Promise:
        """Read a freshly opened file's header."""
        time_base = stream.time_base or Fraction(1, 1000)
        whole_s = container.duration / units_per_s if container.duration else None
        video_s = _track_s(container, stream, time_base)
        if video_s is None and len(container.streams) == 1:
            video_s = whole_s
        if container.format.name in _COUNT_FROM_ZERO:
            start_s = max(0.0, float((stream.start_time or 0) * time_base))
            video_s, whole_s = _less(video_s, start_s), _less(whole_s, start_s)
        return cls(
            first_pts=stream.start_time or 0,
            time_base=time_base,
            rate=frame_rate(stream),
            frames=stream.frames or None,
            video_s=video_s,
            duration_s=video_s if video_s is not None else whole_s,
            is_endless=container.format.name in _ENDLESS_FORMATS,
        )

    def frame_count(self, start_s: float) -> int | None:
        """Tell how many frames are to be expected from `start_s` on."""
        if start_s <= 0 and self.frames is not None:
            return self.frames
        if self.duration_s is None or self.rate is None:
            return None
        return max(0, round((self.duration_s - start_s) * self.rate))


def told_end(promise: Promise, decoder: Decoder, *, is_whole: bool) -> str:
    """Tell what is missing at a file's end, in words; empty where it ended as promised.

    Args:
        promise: what the header says.
        decoder: it has given its last frame.
        is_whole: it read from the file's beginning, so frames can be counted.
    """
    end_s = float((decoder.end_pts - promise.first_pts) * promise.time_base) if decoder.end_pts is not None else 0.0
    # Frames are stored before those that they are shown after, so that the latest time runs ahead of what is there.
    got_s = min(end_s, float(decoder.stored_pts * promise.time_base)) if decoder.stored_pts is not None else end_s
    got = []
    if promise.frames is not None and is_whole:
        got.append(f"{decoder.packet_count} of {promise.frames} frames")
    if promise.video_s is not None and got_s <= promise.video_s:
        got.append(f"{got_s:.1f} of {promise.video_s:.1f} s")
    told = f"{got[0]} ({got[1]})" if len(got) == 2 else "".join(got) or f"after {got_s:.1f} s"
    if decoder.read_error is not None:
        return f"{told}; reading stopped: {decoder.read_error.strerror}"
    is_cut = decoder.is_cut and not promise.is_endless
    if is_cut or _is_short(promise, decoder, end_s, is_whole=is_whole):
        return f"{told}; the file seems to be cut off"
    return ""


def _is_short(promise: Promise, decoder: Decoder, end_s: float, *, is_whole: bool) -> bool:
    """True where both the time and the number of frames fall short of what the header tells of them.

    Either alone gives false alarms: an edit list leaves frames out, and a last frame may stand for long.
    """
    missing_frames = None
    if promise.frames is not None and is_whole:
        missing_frames = promise.frames - decoder.packet_count
        if missing_frames <= 0:
            return False
    if promise.video_s is None:
        return missing_frames is not None and missing_frames > max(2, _SLACK_SHARE * decoder.packet_count)
    missing_s = promise.video_s - end_s
    frame_s = float(decoder.step_pts() * promise.time_base)
    if missing_frames is not None:
        return missing_s > 1.5 * frame_s
    longest_s = float(decoder.longest_gap * promise.time_base)
    return missing_s > max(_SLACK_S, _SLACK_SHARE * promise.video_s, 2 * longest_s)


def _less(told_s: float | None, start_s: float) -> float | None:
    """Take a beginning off a duration that reaches beyond it."""
    return told_s - start_s if told_s is not None and told_s > start_s else told_s


def _track_s(container: InputContainer, stream: VideoStream, time_base: Fraction) -> float | None:
    """Tell how long the header says that the video track is; None where it speaks of the whole file only."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        # FFmpeg corrects a cut AVI's duration by the file's size, which hides the cut; the count is the header's.
        return float(stream.frames / stream.average_rate)
    if stream.duration:
        return float(stream.duration * time_base)
    told = _TRACK_DURATION.match(stream.metadata.get("DURATION", ""))
    return int(told[1]) * 3600 + int(told[2]) * 60 + float(told[3]) if told else None
