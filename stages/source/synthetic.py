"""A source without a file: moving stripes, as many as are wanted, that cost next to nothing to make; for benches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count

import numpy as np
from numpy.typing import NDArray

from posestream.stages.color import ColorTags
from posestream.stages.errors import SettingsError
from posestream.stages.items import Frame, FrameKey
from posestream.stages.picture import ArrayPicture
from posestream.stages.source.name import derive_names
from posestream.stages.source.protocol import ClosedAtExit, SourceInfo
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp, now

__all__ = ["SyntheticSource", "is_synthetic"]

_SCHEME = "synthetic:"
#: WIDTHxHEIGHT, the rate that its times tell, and how many frames; without a number it never ends.
_ADDRESS = re.compile(rf"{_SCHEME}(\d{{1,4}})x(\d{{1,4}})(?:@(\d{{1,4}}))?(?:x(\d{{1,9}}))?")
#: Frames per second of its times where the address tells none.
_RATE = 30
#: After so many frames the stripes stand where they began.
_PERIOD = 256


def is_synthetic(url: str) -> bool:
    """True for what begins as these addresses do."""
    return url.startswith(_SCHEME)


class SyntheticSource(ClosedAtExit):
    """Frames at once whenever they are asked for: `synthetic:WIDTHxHEIGHT[@RATE][xFRAMES]`.

    It counts as recorded: every frame is taken, as fast as the pipeline can. The same frame is the same in every run.

    Raises:
        SettingsError: the address is none of these.
    """

    def __init__(self, settings: SourceSettings, clock: Callable[[], Stamp] = now) -> None:
        match = _ADDRESS.fullmatch(settings.url)
        width, height, rate, frames = (int(text or 0) for text in match.groups()) if match else (0, 0, 0, 0)
        if not width or not height:
            raise SettingsError(f"{settings.url}: write synthetic:WIDTHxHEIGHT, then @RATE and xFRAMES if wanted")
        settings.refuse("a synthetic source", "kind", "realtime", "transport", "policy", "fps", "hwaccel", "reconnect")
        settings.refuse("a synthetic source", "step", "rotation", "roi", "max_age_s")
        self._settings = settings
        self._name = settings.name or derive_names([settings.url])[0]
        self._width, self._height = width, height
        self._rate = rate or _RATE
        self._first = round(settings.start_s * self._rate)
        wanted = settings.max_frames
        left = max(0, frames - self._first) if frames else wanted
        self._frame_count = left if left is None or wanted is None else min(left, wanted)
        self._clock = clock
        self._stripes = np.empty((0, 0, 3), np.uint8)

    def __repr__(self) -> str:
        """Tell its name and address."""
        return f"<SyntheticSource {self._name} {self._settings.url}>"

    @property
    def name(self) -> str:
        """Its name, `[a-z0-9_.-]+`."""
        return self._name

    @property
    def is_live(self) -> bool:
        """Never: it waits."""
        return False

    def open(self) -> SourceInfo:
        """Make the stripes that all frames show a part of."""
        self._stripes = _stripes(self._width + _PERIOD, self._height)
        return SourceInfo(
            name=self._name,
            width=self._width,
            height=self._height,
            rate=Fraction(self._rate),
            frame_count=self._frame_count,
            duration_s=None,
            is_live=False,
            time_base=Fraction(1, self._rate),
            path=None,
            sample_aspect_ratio=None,
            color=ColorTags.of_size(self._width, self._height),
        )

    def frames(self) -> Iterator[Frame]:
        """Give its frames; the stripes move by a pixel each time."""
        for seq in count() if self._frame_count is None else range(self._frame_count):
            captured = self._clock()
            pts = self._first + seq
            offset = pts % _PERIOD
            yield Frame(
                key=FrameKey(self._name, seq),
                epoch=0,
                pts=pts,
                time_base=Fraction(1, self._rate),
                captured_mono_s=captured.mono_s,
                captured_wall_s=captured.wall_s,
                width=self._width,
                height=self._height,
                picture=ArrayPicture(self._stripes[:, offset : offset + self._width]),
            )


def _stripes(width: int, height: int) -> NDArray[np.uint8]:
    """Give height×width×3: no two parts within a period are alike, in any row."""
    x, y = np.arange(width, dtype=np.uint32), np.arange(height, dtype=np.uint32)[:, None]
    blue = (x * x // 37 + y) % 256
    green = (x * 2 + y // 2) % 256
    red = np.broadcast_to(x // 4 % 256, blue.shape)
    return np.stack((blue, green, red), axis=-1).astype(np.uint8)
