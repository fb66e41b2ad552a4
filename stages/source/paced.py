"""A file at its own speed: each frame is given when its time has come, as a camera would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from posestream.stages.items import Frame
from posestream.stages.source.protocol import ClosedAtExit, Source, SourceInfo
from posestream.stages.source.settings import Policy, SourceSettings
from posestream.stages.source.stamp import Stamp, now

__all__ = ["PacedSource"]

#: A frame of which the newest wins is not inferred when it is older, in seconds.
_MAX_AGE_S = 0.5
#: Longest wait between two looks at the clock, which stands while the source is paused, in seconds.
_LOOK_S = 0.05
#: A frame that is due in less than this is due, in seconds.
_SOON_S = 0.000_5


class PacedSource(ClosedAtExit):
    """Gives the frames of a recorded source when they are due by this host's clock; who is late gets them at once.

    Args:
        source: the file.
        settings: what becomes of frames that come too fast.
        clock: reads both clocks.
        wait: waits for so many seconds.
        passed: so many frames at the beginning are passed over: an earlier process took them.
    """

    def __init__(
        self,
        source: Source,
        settings: SourceSettings,
        clock: Callable[[], Stamp] = now,
        wait: Callable[[float], None] = time.sleep,
        passed: int = 0,
    ) -> None:
        self._source = source
        self._settings = settings
        self._clock = clock
        self._wait = wait
        self._passed = passed

    def __repr__(self) -> str:
        """Tell what is played."""
        return f"<PacedSource {self._source!r}>"

    @property
    def name(self) -> str:
        """Its name, `[a-z0-9_.-]+`."""
        return self._source.name

    @property
    def is_live(self) -> bool:
        """Always: it does not wait."""
        return True

    def open(self) -> SourceInfo:
        """Open the file.

        Raises:
            SourceError: it is missing or not readable.
        """
        info, settings = self._source.open(), self._settings
        keeps_newest = settings.policy is not Policy.EVERY_FRAME
        max_age_s = _MAX_AGE_S if keeps_newest and settings.max_age_s is None else settings.max_age_s
        # The sound of a file would not keep to the times of frames that are dropped.
        return replace(info, is_live=True, path=None, keeps_newest=keeps_newest, max_age_s=max_age_s)

    def frames(self) -> Iterator[Frame]:
        """Give each frame at its time, stamped with it."""
        offset_s = None
        for frame in islice(self._source.frames(), self._passed, None):
            pts_s = frame.pts_s or 0.0
            if offset_s is None:
                offset_s = self._clock().played_s - pts_s
            captured = self._wait_until(offset_s + pts_s)
            yield replace(frame, captured_mono_s=captured.mono_s, captured_wall_s=captured.wall_s)

    def _wait_until(self, due_s: float) -> Stamp:
        """Wait until a frame is due, and give that instant."""
        while (left_s := due_s - (captured := self._clock()).played_s) > _SOON_S:
            self._wait(min(left_s, _LOOK_S))
        return captured

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        self._source.close()
