"""Packets that a decoder has and whose frames have not come yet, and what became of those whose frames never come."""

from __future__ import annotations

from posestream.stages.source.stamp import Stamp

__all__ = ["Pending"]

#: Packets that a decoder can hold back before their frame comes (H.264: 16 pictures, and as many threads).
_MAX_HELD = 64
#: Frames that came each of a packet of its own, after which a stream is taken to have one for every packet. Others have
#: packets that hold half a picture (interlaced H.264) or one that is never shown (VP8).
_SURE_AFTER = 4


class Pending:
    """Knows when each packet came, by its time in the stream. Frames leave a decoder in the order of those times.

    So a packet is lost when the frame of a later one comes: for certain if its decoding failed, and, after such a
    failure, also if the decoder swallowed it without a word, provided that the stream has a frame for every packet.
    """

    def __init__(self) -> None:
        #: PyAV could carry an object through the decoder, but frees it from FFmpeg's threads, which waits for the GIL
        #: that closing holds.
        self._stamps: dict[int, Stamp] = {}
        self._failed: dict[int, Stamp] = {}
        #: Frames that came of a packet of their own.
        self._pairs = 0
        #: True once a packet gave no frame although nothing had failed.
        self._has_strays = False
        self._has_failed = False

    def __repr__(self) -> str:
        return f"<Pending packets={len(self._stamps)} failed={len(self._failed)}>"

    @property
    def is_full(self) -> bool:
        """True if so many have failed that no decoder waits for the first of them any more."""
        return len(self._failed) >= _MAX_HELD

    @property
    def earliest(self) -> int | None:
        """The earliest time of which a frame may come."""
        return min(self._stamps, default=None)

    def add(self, when: int, stamp: Stamp) -> None:
        """Note a packet that goes to the decoder."""
        self._stamps[when] = stamp
        while len(self._stamps) > _MAX_HELD:
            del self._stamps[next(iter(self._stamps))]

    def fail(self, when: int, stamp: Stamp) -> None:
        """Note that a packet could not be decoded."""
        self._stamps.pop(when, None)
        self._failed[when] = stamp
        self._has_failed = True

    def take(self, when: int, stamp: Stamp) -> Stamp:
        """Tell when the packet of a frame came; `stamp` where that is not known."""
        self._pairs += when in self._stamps
        return self._stamps.pop(when, stamp)

    def lost(self, when: int | None = None) -> list[tuple[int, Stamp]]:
        """Give up the packets before `when`, or all at the end, and tell which of them were frames, in their order."""
        silent = {time: stamp for time, stamp in self._stamps.items() if when is None or time < when}
        failed = {time: stamp for time, stamp in self._failed.items() if when is None or time < when}
        for time in silent:
            del self._stamps[time]
        for time in failed:
            del self._failed[time]
        if silent and not self._has_failed:
            self._has_strays = True
        if self._has_failed and self._pairs >= _SURE_AFTER and not self._has_strays:
            failed |= silent
        return sorted(failed.items())
