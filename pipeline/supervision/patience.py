"""How long the parts of a run are waited for when it ends."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Patience"]


@dataclass(frozen=True, slots=True)
class Patience:
    """The waits of a stop, one after another, and of a replica that is missed; all in seconds."""

    #: How long a stop may drain before what is in flight is dropped.
    drain_s: float = 20.0
    #: How long the lanes then have to write that down.
    abandon_s: float = 3.0
    #: How long the parts have to end once nothing is left to do.
    stop_s: float = 10.0
    #: How long one of them has that still loads its engine, and is a thread.
    load_s: float = 0.5
    #: How long a replica that the dispatcher gave up may still come back (the whole machine may have slept).
    come_back_s: float = 1.0
    #: How long one that hangs and is a thread may take to leave before its place is given up.
    leave_s: float = 20.0
