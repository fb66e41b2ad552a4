"""A lane's frames in flight: what cannot travel stays here, and the room here is what makes a source wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from posestream.stages.items import Frame, NetInput
from posestream.stages.output.sink import Ended

__all__ = ["FrameStore"]


@dataclass(slots=True)
class _Entry:
    frame: Frame
    net_input: NetInput | None = None
    ended: Ended | None = None


class FrameStore:
    """Holds frames by seq from the decoder to the last output; one thread puts, others look and release."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: dict[int, _Entry] = {}
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<FrameStore {len(self._entries)}/{self._capacity}>"

    def __len__(self) -> int:
        return len(self._entries)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until one more frame fits; False if it still does not after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._entries) < self._capacity, timeout_s)

    def resize(self, capacity: int) -> None:
        """Have room for so many frames from now on; those that are there stay."""
        with self._changed:
            self._capacity = capacity
            self._changed.notify()

    def put(self, frame: Frame) -> None:
        """Keep a frame; the caller has waited for room."""
        with self._changed:
            self._entries[frame.key.seq] = _Entry(frame)

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
            del self._entries[seq]
            self._changed.notify()
