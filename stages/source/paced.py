"""A file at its own speed: each frame is given when its time has come, as a camera would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from posestream.stages.items import Frame
from posestream.stages.source.protocol import ClosedAtExit, Source, SourceInfo
from posestream.stages.source.settings import Policy, SourceSettings
from posestream.stages.source.stamp import Stamp, now

__all__ = ["PacedSource"]

#: A frame of which the newest wins is not inferred when it is older, in seconds.
_MAX_AGE_S = 0.5


class PacedSource(ClosedAtExit):
    """Gives the frames of a recorded source when they are due by this host's clock; who is late gets them at once.

    Args:
        source: the file.
        settings: what becomes of frames that come too fast.
        clock: reads both clocks.
        wait: waits for so many seconds.
    """

    def __init__(
        self,
        source: Source,
        settings: SourceSettings,
        clock: Callable[[], Stamp] = now,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._settings = settings
        self._clock = clock
        self._wait = wait

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
        began_s = first_s = None
        for frame in self._source.frames():
            pts_s, now_s = frame.pts_s or 0.0, self._clock().mono_s
            if began_s is None or first_s is None:
                began_s, first_s = now_s, pts_s
            self._wait(max(0.0, began_s + pts_s - first_s - now_s))
            captured = self._clock()
            yield replace(frame, captured_mono_s=captured.mono_s, captured_wall_s=captured.wall_s)

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        self._source.close()
