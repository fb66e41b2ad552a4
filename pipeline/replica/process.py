"""A replica as a process of its own: the head's side of it, and what runs in it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import zmq
from pydantic import TypeAdapter

from posestream.models.errors import EngineError, ModelError
from posestream.models.weights import WeightStore
from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.errors import ExitCode, PipelineError, exit_code_of
from posestream.pipeline.replica.replica import Replica
from posestream.pipeline.replica.serving import serving_of
from posestream.pipeline.supervision.parent import Parent
from posestream.pipeline.supervision.process import STOP, ChildProcess, LogOptions
from posestream.pipeline.wire.messages import ReplicaBye, Serve
from posestream.pipeline.wire.sockets import Sockets, ZmqContext, send

__all__ = ["ReplicaConfig", "ReplicaProcess", "run_replica"]

#: How often a process that waits for its threads looks at them, in seconds.
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """What the process is told."""

    name: str
    #: Where the dispatcher listens to replicas.
    address: str
    serve: Serve
    device: str


class ReplicaProcess:
    """The head's side: the same verbs as a `Replica` of threads."""

    def __init__(self, config: ReplicaConfig, dispatch: DispatchLoop, log: LogOptions) -> None:
        self._config = config
        self._dispatch = dispatch
        self._child = ChildProcess(config.name, "replica", asdict(config), log)

    def __repr__(self) -> str:
        return f"<ReplicaProcess {self._child}>"

    @property
    def name(self) -> str:
        """What the dispatcher calls it."""
        return self._config.name

    @property
    def pid(self) -> int | None:
        """Its process's number."""
        return self._child.pid

    @property
    def description(self) -> str:
        """Its engine in a few words; empty until that is open."""
        return self._dispatch.description(self.name)

    @property
    def is_alive(self) -> bool:
        """True until the process has ended."""
        return self._child.is_alive

    @property
    def is_killable(self) -> bool:
        """Always: it is a process."""
        return True

    @property
    def error(self) -> BaseException | None:
        """Why it ended, if it was not asked to."""
        code = self._child.returncode
        if code is None or code == 0:
            return None
        told = self._dispatch.farewell(self.name)
        if code == ExitCode.ENGINE:
            return EngineError(told or f"{self.name} cannot run the network")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return PipelineError(f"{self.name} {how}{': ' if told else ''}{told}")

    def start(self) -> None:
        """Start the process."""
        self._child.start()

    def stop(self) -> None:
        """Let it finish what it holds, then leave."""
        self._child.stop()

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()

    def join(self, deadline_s: float) -> bool:
        """Wait until it has ended; False if it has not by the monotonic clock's `deadline_s`."""
        return self._child.join(deadline_s)


def run_replica(settings: Any, parent: Parent) -> ExitCode:
    """Serve until stopped: what runs in the process."""
    config = TypeAdapter(ReplicaConfig).validate_python(settings)
    context: ZmqContext = zmq.Context()
    try:
        serving = serving_of(config.serve, config.device, WeightStore.from_environment())
    except (ModelError, EngineError) as error:
        _say_goodbye(context, config, error)
        raise
    replica = Replica(config.name, config.serve.head, context, config.address, serving, on_end=lambda: None)
    parent.watch({STOP: replica.stop}, replica.stop)
    replica.start()
    while not replica.join(time.monotonic() + _LOOK_S):
        if replica.hangs and not replica.join(time.monotonic() + _LOOK_S):
            return ExitCode.REPLICAS  # with all of its threads: its engine may never let itself be closed
    context.term()
    return ExitCode.DONE if replica.error is None else exit_code_of(replica.error)


def _say_goodbye(context: ZmqContext, config: ReplicaConfig, error: Exception) -> None:
    """Tell the head why there will be no replica."""
    with Sockets(context) as sockets:
        socket = sockets.open(zmq.DEALER, connect=config.address, identity=config.name)
        send(socket, ReplicaBye(config.name, config.serve.head, True, str(error)))
