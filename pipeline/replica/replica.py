"""A replica: one engine and its grouping, as two threads."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from posestream.pipeline.replica.group_loop import GroupLoop
from posestream.pipeline.replica.infer_loop import InferLoop
from posestream.pipeline.replica.progress import ReplicaProgress
from posestream.pipeline.replica.serving import Serving
from posestream.pipeline.supervision.part import Part
from posestream.pipeline.wire.sockets import ZmqContext

__all__ = ["Replica"]

_log = logging.getLogger(__name__)


class Replica:
    """Runs one engine and its grouping as two threads.

    Args:
        name: what the dispatcher calls it.
        head: whom it serves, as in `Serve`.
        context: of its sockets.
        address: where the dispatcher listens to replicas.
        serving: what it works with.
        on_end: called whenever one of the threads has ended.
        patience_s: how long the head may be silent before the replica ends with an error, in seconds.
    """

    def __init__(
        self,
        name: str,
        head: str,
        context: ZmqContext,
        address: str,
        serving: Serving,
        on_end: Callable[[], None],
        patience_s: float = math.inf,
    ) -> None:
        self._state = ReplicaProgress(name, head)
        fields, people = f"inproc://{name}/fields", f"inproc://{name}/people"
        infer = InferLoop(context, address, fields, people, serving, self._state, patience_s)
        group = serving.group()
        _log.debug("%s groups with %r", name, group)
        grouping = GroupLoop(context, fields, people, group, serving.spec, self._state)

        def on_group_end() -> None:
            self._state.has_grouping_ended.set()
            on_end()

        self._parts = [Part(f"{name}/infer", infer.run, on_end), Part(f"{name}/group", grouping.run, on_group_end)]

    def __repr__(self) -> str:
        return f"<Replica {self._state.name} {[part for part in self._parts if part.is_alive]}>"

    @property
    def name(self) -> str:
        """What the dispatcher calls it."""
        return self._state.name

    @property
    def description(self) -> str:
        """Its engine in a few words; empty until that is open."""
        return self._state.description

    @property
    def is_alive(self) -> bool:
        """True until both threads have ended."""
        return any(part.is_alive for part in self._parts)

    @property
    def hangs(self) -> bool:
        """True once an inference, or grouping, hangs, so that it may never end by itself."""
        return self._state.hang is not None

    @property
    def is_killable(self) -> bool:
        """Never: a thread cannot be ended from outside."""
        return False

    @property
    def error(self) -> BaseException | None:
        """What stopped it; the work loop stops because of the grouping, never the other way round."""
        return self._state.hang or next((part.error for part in reversed(self._parts) if part.error), None)

    def start(self) -> None:
        """Start to load."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Finish what it holds, then leave."""
        self._state.stopping.set()

    def kill(self) -> None:
        """Let it leave with work in hand, as soon as its engine has ended what it works on; threads cannot be ended."""
        self._state.abandoned.set()
        self.stop()

    def join(self, deadline_s: float) -> bool:
        """Wait until both threads have ended; False if one has not by the monotonic clock's `deadline_s`."""
        return all(part.join(max(0.0, deadline_s - time.monotonic())) for part in self._parts)
