"""A clock that goes only while somebody listens: silence that nobody could have heard is none."""

from __future__ import annotations

import math

__all__ = ["Attention"]

#: Most that passes between two looks, in seconds: whoever looks less often was stopped, or had no processor.
_LONGEST_S = 0.5


class Attention:
    """Counts the time that its owner listened, for whoever must tell a speaker that hangs from an owner that slept.

    The owner looks each time after it has heard all that was there. A process that was stopped, or a machine that was
    overloaded, has not listened meanwhile: what was said then is heard before much time has passed here.
    """

    def __init__(self) -> None:
        #: How long it was listened in all, in seconds.
        self.seconds = 0.0
        self._looked_s = math.inf

    def __repr__(self) -> str:
        return f"<Attention {self.seconds:.1f} s>"

    def look(self, now_s: float) -> None:
        """Note that everything which had come by then was heard."""
        self.seconds += min(_LONGEST_S, max(0.0, now_s - self._looked_s))
        self._looked_s = now_s
