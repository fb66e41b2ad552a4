"""A lane's frames in flight: what cannot travel stays here, and the room here is what makes a source wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from posestream.stages.items import Frame, NetInput
from posestream.stages.output.sink import Ended

__all__ = ["FrameStore"]

#: Frames at most, those included that were lost and only wait for their turn to be told: a few MB of them.
_MOST_ENTRIES = 10_000


@dataclass(slots=True)
class _Entry:
    frame: Frame
    #: When it was put here, in seconds of the monotonic clock.
    put_s: float
    #: True once a replica has begun on it, or it has ended: the newest frame of a live source may follow it.
    is_begun: bool
    #: True if it took room for a picture.
    is_heavy: bool
    net_input: NetInput | None = None
    ended: Ended | None = None


class FrameStore:
    """Holds frames by seq from the decoder to the last output; one thread puts, others look and release."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        #: Frames here that came with a picture.
        self._heavy = 0
        self._entries: dict[int, _Entry] = {}
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<FrameStore {len(self._entries)}/{self._capacity}>"

    def __len__(self) -> int:
        return len(self._entries)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until one more frame fits; False if it still does not after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(self._has_room, timeout_s)

    def wait_for_turn(self, refresh_s: float, timeout_s: float) -> bool:
        """Wait until there is room and nobody waits for the frame before; False if that is not so after `timeout_s`.

        A frame that waits for longer than `refresh_s` is followed all the same: a newer one is to take its place.
        """
        deadline_s = self._clock() + timeout_s
        with self._changed:
            while not (self._has_room() and self._is_turn(refresh_s)):
                left_s = deadline_s - self._clock()
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, max(0.001, self._until_refresh_s(refresh_s))))
            return True

    def begin(self, seq: int) -> None:
        """Note that a replica has begun on a frame, or that it has ended."""
        with self._changed:
            if seq in self._entries:
                self._entries[seq].is_begun = True
                self._changed.notify()

    def resize(self, capacity: int) -> None:
        """Have room for so many frames from now on; those that are there stay."""
        with self._changed:
            self._capacity = capacity
            self._changed.notify()

    def put(self, frame: Frame) -> None:
        """Keep a frame; the caller has waited for room."""
        with self._changed:
            # Who has no picture takes no room and no turn: what comes after it shall not wait.
            is_lost = frame.picture is None
            self._entries[frame.key.seq] = _Entry(frame, self._clock(), is_begun=is_lost, is_heavy=not is_lost)
            self._heavy += not is_lost

    def frame(self, seq: int) -> Frame:
        """Look at a frame that has not been released."""
        with self._changed:
            return self._entries[seq].frame

    def keep_input(self, seq: int, net_input: NetInput, *, keep_picture: bool) -> None:
        """Keep a frame's network input until the frame is released, and its picture only if somebody will look."""
        with self._changed:
            entry = self._entries[seq]
            entry.net_input = net_input
            if not keep_picture:
                entry.frame = replace(entry.frame, picture=None)

    def drop_picture(self, seq: int) -> None:
        """Let go of a picture of which nothing can be made."""
        with self._changed:
            entry = self._entries[seq]
            entry.frame = replace(entry.frame, picture=None)

    def to_send(self, seq: int) -> tuple[Frame, NetInput] | None:
        """Look at a frame and its network input; None once the frame has ended."""
        with self._changed:
            entry = self._entries.get(seq)
            return None if entry is None or entry.net_input is None else (entry.frame, entry.net_input)

    def end(self, ended: Ended) -> None:
        """Keep how a frame ended, and let go of its network input: it will not be sent again."""
        with self._changed:
            entry = self._entries[ended.frame.key.seq]
            entry.net_input = None
            entry.ended = ended

    def ended(self, seq: int) -> Ended:
        """Look at how a frame ended."""
        with self._changed:
            ended = self._entries[seq].ended
        if ended is None:
            raise KeyError(f"frame {seq} has not ended")
        return ended

    def release(self, seq: int) -> None:
        """Let go of a frame and make room for another."""
        with self._changed:
            self._heavy -= self._entries.pop(seq).is_heavy
            self._changed.notify()

    def _has_room(self) -> bool:
        return self._heavy < self._capacity and len(self._entries) < _MOST_ENTRIES

    def _is_turn(self, refresh_s: float) -> bool:
        return self._until_refresh_s(refresh_s) <= 0

    def _until_refresh_s(self, refresh_s: float) -> float:
        """Give how long the newest frame that waits for a replica may still do so, in seconds; 0 where none waits."""
        put_s = next((entry.put_s for entry in reversed(self._entries.values()) if not entry.is_begun), None)
        return 0.0 if put_s is None else put_s + refresh_s - self._clock()
