"""Plays out what comes in pieces of several seconds at its own speed, as a player does: each frame at its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from posestream.stages.source.decode import Decoded
from posestream.stages.source.stamp import Stamp

__all__ = ["played_out"]

#: A frame that follows the one before at a greater distance is behind a gap or a clock that jumped: it is due at once.
_LONGEST_STEP_S = 2.0


def played_out(
    frames: Iterable[Decoded],
    seconds_per_tick: float,
    clock: Callable[[], Stamp],
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Decoded]:
    """Give each frame when it is due, stamped with that instant; the first one is due at once.

    A frame that comes too late, since its piece did, is given at once, and those behind it keep their distance to it.

    Args:
        frames: decoded when they are asked for, so that nothing is read before it is due.
        seconds_per_tick: of the frames' times.
        clock: reads both clocks.
        wait: waits for so many seconds.
    """
    due_s = last_s = None
    for decoded in frames:
        told_s = None if decoded.told_pts is None else decoded.told_pts * seconds_per_tick
        if decoded.frame is None or told_s is None:
            yield decoded
            continue
        now_s = clock().mono_s
        step_s = told_s - last_s if last_s is not None else 0.0
        due_s = max(now_s, (due_s if due_s is not None else now_s) + (step_s if 0 < step_s <= _LONGEST_STEP_S else 0.0))
        last_s = told_s
        if due_s > now_s:
            wait(due_s - now_s)
        yield replace(decoded, captured=clock())
