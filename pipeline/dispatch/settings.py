"""The dispatcher's patience: with replicas, with frames on their way, and with batches that are not full."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DispatcherSettings"]


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """The dispatcher's patience."""

    #: A replica that was not heard for so long is lost.
    heartbeat_timeout_s: float = 5.0
    #: The same while it loads its network or compiles for a new shape.
    loading_timeout_s: float = 180.0
    #: A frame that a replica was given so long ago and says not to have got lost on the way, there or back.
    way_timeout_s: float = 5.0
    #: A frame that brought down so many replicas is dropped as poison.
    poison_after: int = 2
    #: How long what engines have of live sources is waited for once a run is stopped: of the two seconds in which it
    #: is to end, the rest is needed to write, join and leave on a loaded machine (0.6 s at a load of 8 a core).
    live_stop_s: float = 1.0
    #: How long a frame waits for others that fill its batch.
    batch_wait_s: float = 0.005
