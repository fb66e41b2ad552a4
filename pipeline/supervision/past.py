"""Sources that came while a run went on and have gone, when nothing else is kept of them: their names, and a sum."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, insort

from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.errors import ExitCode

__all__ = ["Past"]

#: Bytes of a digest, which is what is kept of a name: two of a million names have the same once in 40 million runs, and
#: then one is refused for no reason.
_DIGEST_BYTES = 8


class Past:
    """What is left of any number of sources: eight bytes each, and what they came to together.

    A name stays taken: `run`, `source` and `n` tell a message for good, files and replay logs are called after the
    source, and all of these would have to outlive it for another source to go on with them.
    """

    def __init__(self) -> None:
        self._digests = array("Q")
        #: What became of their frames.
        self.counts = FrameCounts()
        #: What a run with each of them alone would have ended with, where that was no success.
        self.exit_codes: set[ExitCode] = set()

    def __repr__(self) -> str:
        return f"<Past sources={len(self)} {self.counts}>"

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, name: object) -> bool:
        digest = _digest(str(name))
        at = bisect_left(self._digests, digest)
        return at < len(self._digests) and self._digests[at] == digest

    def add(self, name: str, counts: FrameCounts, code: ExitCode) -> None:
        """Note a source that has gone."""
        insort(self._digests, _digest(name))
        self.counts.add(counts)
        if code is not ExitCode.DONE:
            self.exit_codes.add(code)


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES).digest())
