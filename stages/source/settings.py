"""What a source can be told: which one it is, which of its frames are taken, and how a live one is kept."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum

from posestream.stages.errors import SettingsError
from posestream.stages.redact import redacted
from posestream.stages.source.address import checked_address
from posestream.stages.source.reconnect import ReconnectSettings

__all__ = ["Kind", "Policy", "SourceSettings", "Transport"]

#: How many numbers a region of interest has.
_REGION = 4


class Kind(StrEnum):
    """Whether a source's frames come by themselves."""

    #: As the address says, or the server.
    AUTO = "auto"
    LIVE = "live"
    RECORDED = "recorded"


class Policy(StrEnum):
    """What happens to frames that come faster than they are worked on."""

    #: Newest for live sources, every frame for recorded ones.
    AUTO = "auto"
    #: The source waits; what it cannot hold meanwhile is its own matter.
    EVERY_FRAME = "every-frame"
    #: The newest one wins wherever nobody has begun on an older one.
    NEWEST = "newest"


class Transport(StrEnum):
    """How RTSP's pictures travel."""

    AUTO = "auto"
    #: Inside the connection: nothing is lost, and firewalls let it pass.
    TCP = "tcp"
    #: Beside it: less delay on a bad line, with broken pictures.
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Which source to read, which part of it, and how.

    Raises:
        SettingsError: a value makes no sense.
    """

    #: A file, folder, glob pattern, URL, camera number or "/dev/videoN", "-" for standard input.
    url: str
    #: `[a-z0-9_.-]+`; empty: derived from `url`.
    name: str = ""
    #: Seconds from the source's beginning that are skipped (recorded video only).
    start_s: float = 0.0
    #: Stop after so many frames; None: go on to the end.
    max_frames: int | None = None
    kind: Kind = Kind.AUTO
    #: True: a file is played at its own speed, as if it were a camera.
    realtime: bool = False
    transport: Transport = Transport.AUTO
    policy: Policy = Policy.AUTO
    #: A frame that is older, in seconds, is not inferred; None: 0.5 where the newest wins, else any age.
    max_age_s: float | None = None
    #: At most so many frames a second are taken; None: all of them.
    fps: float | None = None
    #: Every so many frames one is taken.
    step: int = 1
    #: Degrees clockwise by which the picture is turned to stand upright: 0, 90, 180 or 270.
    rotation: int = 0
    #: Left, top, width and height of the part that the network sees, in pixels of the upright picture; None: all.
    roi: tuple[int, int, int, int] | None = None
    #: A hardware decoder such as "cuda", "vaapi", "qsv" or "videotoolbox"; "none" decodes on the processor.
    hwaccel: str = "none"
    reconnect: ReconnectSettings = field(default_factory=ReconnectSettings)

    def __repr__(self) -> str:
        """Tell what was set, without what may be secret in its address."""
        others = [f for f in dataclasses.fields(self) if f.name != "url" and getattr(self, f.name) != _default(f)]
        told = "".join(f", {other.name}={getattr(self, other.name)!r}" for other in others)
        return f"SourceSettings(url={redacted(self.url)!r}{told})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_address(self.url))
        # Strings, as people write them from Python too.
        for name, kind in (("kind", Kind), ("policy", Policy), ("transport", Transport)):
            object.__setattr__(self, name, kind(getattr(self, name)))
        for is_fit, complaint in (
            (0 <= self.start_s < math.inf, f"start_s = {self.start_s:g} is not 0 or more seconds"),
            (self.max_frames is None or self.max_frames >= 1, f"max_frames = {self.max_frames} is not at least 1"),
            (self.max_age_s is None or 0 < self.max_age_s < math.inf, f"max_age_s = {self.max_age_s} is not above 0"),
            (self.fps is None or 0 < self.fps < math.inf, f"fps = {self.fps} is not above 0"),
            (self.step >= 1, f"step = {self.step} is not at least 1"),
            (self.rotation in (0, 90, 180, 270), f"rotation = {self.rotation} is not 0, 90, 180 or 270"),
            (_is_region(self.roi), f"roi = {self.roi} is not left, top ≥ 0 and width, height ≥ 1"),
        ):
            if not is_fit:
                raise SettingsError(f"source {redacted(self.url)}: {complaint}")

    def refuse(self, what: str, *names: str) -> None:
        """Refuse settings that mean nothing for such a source.

        Raises:
            SettingsError: one of them was set.
        """
        defaults = {f.name: _default(f) for f in dataclasses.fields(self)}
        for name in names:
            value = getattr(self, name)
            if value != defaults[name]:
                raise SettingsError(f"{name} = {value} means nothing for {what} ({redacted(self.url)})")


def _default(setting: dataclasses.Field[object]) -> object:
    make = setting.default_factory
    return make() if callable(make) else setting.default


def _is_region(roi: tuple[int, int, int, int] | None) -> bool:
    return roi is None or (len(roi) == _REGION and min(roi[:2]) >= 0 and min(roi[2:]) >= 1)
