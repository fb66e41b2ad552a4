"""Does what the dispatcher decided: frames go to replicas, and word of their ends to lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import zmq

from posestream.pipeline.dispatch.actions import Action, Assign, End, Finish, RecallFrame
from posestream.pipeline.dispatch.replica_ports import ReplicaPorts
from posestream.pipeline.wire.identities import results_identity, tasks_identity
from posestream.pipeline.wire.messages import Begun, Dropped, Finished, Posed, Recall, Result, Task, Welcome, Work
from posestream.pipeline.wire.sockets import ZmqSocket, send_to
from posestream.stages.items import FrameKey

__all__ = ["Delivery"]


class Delivery:
    """Keeps tasks with their pictures until they are sent, and knows which lanes listen.

    Args:
        lanes: their socket.
        replicas: theirs.
    """

    def __init__(self, lanes: ZmqSocket, replicas: ReplicaPorts) -> None:
        self._lanes = lanes
        self._replicas = replicas
        #: Tasks that wait for a replica, with their pictures.
        self._tasks: dict[FrameKey, tuple[Task, zmq.Frame]] = {}
        #: Lanes that listen, in the order in which they came, and what they know of the replicas' credits.
        self._listening: dict[str, None] = {}
        self._told_credits = 0
        #: Sources of which the newest frame wins: their lanes scale the next one when the last one was begun.
        self._fresh: set[str] = set()

    def __repr__(self) -> str:
        return f"<Delivery tasks={len(self._tasks)} lanes={list(self._listening)} fresh={sorted(self._fresh)}>"

    def keep(self, key: FrameKey, task: Task, picture: zmq.Frame) -> None:
        """Keep a task until its frame is given to a replica, or ends."""
        self._tasks[key] = (task, picture)

    def welcome(self, source: str, credit: int, *, keeps_newest: bool) -> None:
        """Begin to speak to a lane; tasks of one that died are not to be taken for those of the lane that goes on."""
        for key in [key for key in self._tasks if key.source == source]:
            del self._tasks[key]
        self._listening[source] = None
        (self._fresh.add if keeps_newest else self._fresh.discard)(source)
        send_to(self._lanes, results_identity(source), Welcome(credit))

    def forget(self, source: str) -> None:
        """Speak to a lane no more that has ended for good, in whatever way."""
        self._listening.pop(source, None)
        self._fresh.discard(source)

    def tell_credits(self, credit: int) -> None:
        """Let lanes have as many frames in flight as the replicas can hold."""
        if credit != self._told_credits:
            self._told_credits = credit
            for source in self._listening:
                send_to(self._lanes, results_identity(source), Welcome(credit))

    def do(self, actions: Iterable[Action], result: Result | None, payloads: Sequence[zmq.Frame]) -> list[str]:
        """Do all in its order, `result` being what ends a frame with poses; give the replicas that are not there."""
        unreachable: dict[str, None] = {}
        for action in actions:
            if isinstance(action, Assign):
                if not self._assign(action):
                    unreachable[action.replica] = None
            elif isinstance(action, End):
                self._end(action, result, payloads)
            elif isinstance(action, RecallFrame):
                send_to(self._lanes, tasks_identity(action.key.source), Recall(action.key.source, action.key.seq))
            elif isinstance(action, Finish):
                self._listening.pop(action.source, None)
                send_to(self._lanes, results_identity(action.source), Finished(action.source))
        return list(unreachable)

    def _assign(self, action: Assign) -> bool:
        tasks, pictures = zip(*[self._tasks.pop(key) for key in action.keys], strict=True)
        for key in action.keys:
            if key.source in self._fresh:
                send_to(self._lanes, tasks_identity(key.source), Begun(key.source, key.seq))
        return self._replicas.send(action.replica, Work(tasks), pictures)

    def _end(self, end: End, result: Result | None, payloads: Sequence[zmq.Frame]) -> None:
        self._tasks.pop(end.key, None)
        lane = results_identity(end.key.source)
        if end.drop is None:
            assert result is not None  # noqa: S101 - only a result ends a frame with poses
            posed: Posed = result.posed
            send_to(self._lanes, lane, posed, payloads)
        else:
            send_to(self._lanes, lane, Dropped(end.key.source, end.key.seq, end.drop.stage, end.drop.reason))
