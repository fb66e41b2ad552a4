"""What a replica tells of itself while it loads, works and leaves."""

from __future__ import annotations

import threading

from posestream.pipeline.errors import HungError

__all__ = ["ReplicaProgress"]


class ReplicaProgress:
    """What a replica tells of itself; written by its threads, read by others."""

    def __init__(self, name: str, head: str) -> None:
        self.name = name
        #: The head that it serves, as in `Serve`.
        self.head = head
        self.description = ""
        #: Set when the engine is open.
        self.is_ready = threading.Event()
        self.stopping = threading.Event()
        #: Set when nobody wants what it holds: it leaves as soon as its engine lets it.
        self.abandoned = threading.Event()
        #: Set when the grouping's thread has ended.
        self.has_grouping_ended = threading.Event()
        #: What will never end, and what it is thus of no use for.
        self.hang: HungError | None = None
        #: The credits that it will give, known once it is ready.
        self.credits = 0
        self.batch = 1
        #: How many of them may be of live sources; it changes with the time that inferences take.
        self.fresh = 0
