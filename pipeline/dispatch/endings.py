"""How each frame of a recorded source ended, in a byte a frame: what is uncounted if a lane has to go back."""

from __future__ import annotations

from collections import Counter

__all__ = ["Endings"]


class Endings:
    """The ends of the frames from the first one on that a source gave. Outputs may hold back any number of them."""

    def __init__(self, first_seq: int = 0) -> None:
        self._first_seq = first_seq
        #: By frame, 0 while it has not ended, else which of `_kinds`, counted from 1.
        self._ended = bytearray()
        #: The ends that occurred.
        self._kinds: list[str] = []

    def __repr__(self) -> str:
        return f"<Endings first={self._first_seq} frames={len(self._ended)} kinds={self._kinds}>"

    def note(self, seq: int, kind: str) -> None:
        """Note how a frame ended: "stage/reason", or "" with poses."""
        if kind not in self._kinds:
            self._kinds.append(kind)
        at = seq - self._first_seq
        self._ended.extend(bytes(max(0, at + 1 - len(self._ended))))
        self._ended[at] = self._kinds.index(kind) + 1

    def forget_from(self, seq: int) -> Counter[str]:
        """Forget the frames from `seq` on, and count how they ended."""
        at = max(0, seq - self._first_seq)
        forgotten = self._ended[at:]
        del self._ended[at:]
        self._first_seq = min(self._first_seq, seq)
        counts = {kind: forgotten.count(number) for number, kind in enumerate(self._kinds, 1)}
        return +Counter(counts)

    def clear(self) -> None:
        """Forget them all."""
        self._first_seq += len(self._ended)
        self._ended.clear()
