"""Where and how a video is written: checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posestream.stages.errors import SettingsError
from posestream.stages.redact import redacted

__all__ = ["LOOKAHEADS", "VideoSettings"]

#: x264's presets, each with how many frames it looks ahead.
LOOKAHEADS = {
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
            raise SettingsError(
                f"video output {redacted(str(self.path))} is no MP4; give it a name that ends with .mp4"
            )
        if self.preset not in LOOKAHEADS:
            raise SettingsError(f"video preset {self.preset!r} is unknown; choose one of {', '.join(LOOKAHEADS)}")
        if not 0 <= self.crf <= _MOST_CRF:
            raise SettingsError(f"video crf {self.crf} is out of range; choose 0 (lossless) to {_MOST_CRF} (worst)")
        if not 0.001 <= self.picture_s <= 3600.0:
            raise SettingsError(f"video picture time {self.picture_s} s is out of range; choose 0.001 to 3600")
        if self.threads < 0:
            raise SettingsError(f"video threads {self.threads} is out of range; choose 0 (automatic) or more")
