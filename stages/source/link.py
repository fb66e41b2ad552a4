"""A source's connection as other threads see it: how it is, and what they wish of it."""

from __future__ import annotations

import threading

from posestream.stages.source.link_state import LinkPhase, LinkState, LinkStates

__all__ = ["Link"]


class Link:
    """Shared by a source, which waits on `changed`, and by those who look after it.

    Args:
        states: how the connection is; None for a source that has none.
    """

    def __init__(self, states: LinkStates | None = None) -> None:
        self._states = states
        #: Notified whenever a wish or anything that the source waits for has changed.
        self.changed = threading.Condition()
        #: Connections that gave frames so far.
        self.connections = 0
        self._is_stopped = False
        self._is_paused = False

    def __repr__(self) -> str:
        return f"<Link {self._states} stopped={self._is_stopped} paused={self._is_paused}>"

    @property
    def now(self) -> LinkState | None:
        """How the connection is; None where there is none to speak of."""
        return None if self._states is None else self._states.now

    @property
    def is_stopped(self) -> bool:
        """True once no more frames are wanted."""
        return self._is_stopped

    @property
    def is_paused(self) -> bool:
        """True while no connection is wanted."""
        return self._is_paused

    def stop(self) -> None:
        """Want no more frames: whoever waits for one waits no longer."""
        with self.changed:
            self._is_stopped = True
            self.changed.notify_all()

    def pause(self) -> None:
        """Want no connection until `resume`."""
        self._wish(is_paused=True)

    def resume(self) -> None:
        """Want a connection again."""
        self._wish(is_paused=False)

    def go(self, phase: LinkPhase, why: str = "") -> bool:
        """Enter a phase; False where nothing changed."""
        return self._states is not None and self._states.go(phase, why)

    def _wish(self, *, is_paused: bool) -> None:
        with self.changed:
            self._is_paused = is_paused
            self.changed.notify_all()
