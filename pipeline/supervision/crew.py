"""Who does a job's work: threads of this process, or processes. One small interface for each of them."""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import zmq

from posestream.pipeline.claims import Claims
from posestream.pipeline.dispatch.loop import DispatchLoop
from posestream.pipeline.dispatch.settings import DispatcherSettings
from posestream.pipeline.job import Job
from posestream.pipeline.lane.child import LaneConfig
from posestream.pipeline.lane.factory import make_lane
from posestream.pipeline.lane.lane import LanePlan
from posestream.pipeline.lane.line_relay import LineRelay
from posestream.pipeline.lane.process import LaneProcess
from posestream.pipeline.made_with import drop_empty_notes, lasting_paths, note_made_with
from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.replica.process import ReplicaConfig, ReplicaProcess
from posestream.pipeline.replica.replica import Replica
from posestream.pipeline.replica.serving import serve_message
from posestream.pipeline.supervision.handles import LaneHandle, ReplicaHandle
from posestream.pipeline.supervision.lanes import Lanes
from posestream.pipeline.supervision.patience import Patience
from posestream.pipeline.supervision.process import LogOptions
from posestream.pipeline.supervision.restarts import Restarts
from posestream.pipeline.supervision.run_folder import RunFolder, sweep
from posestream.pipeline.supervision.services import Services, open_services
from posestream.pipeline.supervision.slot import Slot
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.pipeline.wire.identities import replica_identity
from posestream.pipeline.wire.sockets import Addresses, ZmqContext
from posestream.stages.errors import SettingsError
from posestream.stages.output.sink import Sink
from posestream.stages.source.opening import SourceSettings

__all__ = ["start_job"]

SinkMaker = Callable[[str], Sink]


def start_job(
    job: Job,
    extra_sinks: Sequence[SinkMaker] = (),
    log: LogOptions | None = None,
    patience: Patience | None = None,
) -> Supervisor:
    """Make a job's parts and start them.

    Args:
        job: what to do.
        extra_sinks: make an output more for each source, given its name; for threads only.
        log: how processes log.
        patience: how long the parts are waited for at the end.

    Raises:
        SettingsError: an address to listen on is taken, another run writes an output, or outputs of this process were
            asked for in processes.
        OutputError: an output cannot be gone on with.
    """
    # What a run that was killed left, whatever this one is.
    sweep()
    changed = threading.Event()
    with ExitStack() as undo:
        context: ZmqContext = zmq.Context()
        undo.callback(context.term)
        # Before anything looks at what there is of them already, and cuts off what is not whole.
        claims = Claims(path for outputs in job.outputs for path in lasting_paths(outputs))
        undo.callback(claims.release)
        crew = _crew(job, context, changed.set, extra_sinks, log or LogOptions())
        undo.callback(crew.clean_up)
        undo.callback(crew.services.close)
        lanes = _lanes(job, crew)
        undo.pop_all()

    def clean_up() -> None:
        crew.clean_up()
        for outputs in lanes.outputs:
            drop_empty_notes(outputs)
        claims.release()

    replicas: list[Slot[ReplicaHandle]] = [
        Slot(f"replica-{number}", functools.partial(crew.replica, number, device), Restarts())
        for number, device in enumerate(job.devices, 1)
    ]
    supervisor = Supervisor(context, crew.dispatch, replicas, lanes, changed, clean_up, patience, crew.services)
    try:
        supervisor.start()
    except BaseException:
        supervisor.close()
        raise
    return supervisor


def _lanes(job: Job, crew: _Threads | _Processes) -> Lanes:
    """Make a place for each source, and note beside its outputs what makes them."""
    lanes = Lanes(crew.lane, crew.forget, is_open_ended=bool(job.settings.pipeline.control))
    for source, outputs in zip(job.sources, job.outputs, strict=True):
        lanes.add(source, outputs)
    for source, outputs in zip(job.sources, job.outputs, strict=True):
        note_made_with(outputs, job.made_with(source))
    return lanes


def _crew(
    job: Job, context: ZmqContext, on_end: Callable[[], None], extra_sinks: Sequence[SinkMaker], log: LogOptions
) -> _Threads | _Processes:
    if job.settings.pipeline.mode == "threads":
        return _Threads(job, context, on_end, extra_sinks, log)
    if extra_sinks:
        raise SettingsError('results can be had in Python only with pipeline.mode = "threads"')
    return _Processes(job, context, on_end, log)


def _plan(job: Job, run: str) -> LanePlan:
    spec, settings = job.choice.spec, job.settings
    # A lane that is started again goes on with this run's outputs, not with older ones that it would have replaced.
    since_s = 0.0 if settings.output.resume else time.time()
    return LanePlan(
        run,
        settings.network.net_height,
        spec.input.multiple,
        spec.name,
        spec.layout_name,
        settings.replicas.window,
        since_s=since_s,
    )


def _dispatcher_settings(job: Job) -> DispatcherSettings:
    return DispatcherSettings(batch_wait_s=job.settings.replicas.batch_wait_ms / 1000)


def _publishing(plan: LanePlan, services: Services, source: str) -> LanePlan:
    """Tell a lane where its messages go, and which of them went there before."""
    return replace(plan, feed=services.publishing.feed, published=services.publishing.last(source))


class _Threads:
    """Lanes and replicas as threads of this process."""

    def __init__(
        self,
        job: Job,
        context: ZmqContext,
        on_end: Callable[[], None],
        extra_sinks: Sequence[SinkMaker],
        log: LogOptions,
    ) -> None:
        self._job = job
        self._context = context
        self._on_end = on_end
        self._extra_sinks = extra_sinks
        run = secrets.token_hex(3)
        self._plan = _plan(job, run)
        self._addresses = Addresses.inproc(run, job.settings.pipeline.listen)
        self._serve = serve_message(job.choice.spec, job.settings)
        self.services = open_services(job, context, f"inproc://{run}/publish", on_end, log)
        self.dispatch = DispatchLoop(
            context,
            self._addresses,
            self._serve,
            _dispatcher_settings(job),
            guard=job.guard,
            gate=self.services.gate,
        )

    def replica(self, number: int, device: str, generation: int) -> ReplicaHandle:
        """Make a replica."""
        name, serving = replica_identity(number, generation), self._job.serving(device)
        return Replica(name, self._serve.head, self._context, self._addresses.replicas, serving, self._on_end)

    def lane(self, source: SourceSettings, outputs: LaneOutputs, _generation: int) -> LaneHandle:
        """Make a lane."""
        return make_lane(
            _publishing(self._plan, self.services, source.name),
            self._context,
            self._addresses,
            source,
            outputs,
            self._on_end,
            [make(source.name) for make in self._extra_sinks],
            goes_on=self._job.settings.output.resume,
        )

    def forget(self, source: str) -> None:
        """Keep nothing of a source that has gone."""
        self.dispatch.forget(source)
        self.services.publishing.forget(source)

    def clean_up(self) -> None:
        """Nothing outlives the threads."""


class _Processes:
    """Lanes and replicas as processes of this host."""

    def __init__(self, job: Job, context: ZmqContext, on_end: Callable[[], None], log: LogOptions) -> None:
        self._job = job
        self._log = log
        self._plan = _plan(job, secrets.token_hex(3))
        self._folder = RunFolder()
        self._addresses = Addresses.ipc(self._folder.path, job.settings.pipeline.listen)
        self._serve = serve_message(job.choice.spec, job.settings)
        #: What passes on the lines of each source that has standard output.
        self._relays: dict[str, LineRelay] = {}
        #: What the last lane of each source was told.
        self._plans: dict[str, LanePlan] = {}
        try:
            self.services = open_services(job, context, f"ipc://{self._folder.path}/publish", on_end, log)
        except BaseException:
            self._folder.remove()
            raise
        self.dispatch = DispatchLoop(
            context,
            self._addresses,
            self._serve,
            _dispatcher_settings(job),
            guard=job.guard,
            gate=self.services.gate,
        )

    def replica(self, number: int, device: str, generation: int) -> ReplicaHandle:
        """Make a replica."""
        config = ReplicaConfig(replica_identity(number, generation), self._addresses.replicas, self._serve, device)
        return ReplicaProcess(config, self.dispatch, self._log)

    def lane(self, source: SourceSettings, outputs: LaneOutputs, generation: int) -> LaneHandle:
        """Make a lane; a successor goes on where the outputs end, or where a live source is."""
        table = outputs.table
        goes_on = generation > 0 or self._job.settings.output.resume
        relay, last_line = None, ""
        if table.jsonl is not None and table.jsonl.is_standard_output:
            last_line = self._relays[source.name].last_line.decode() if source.name in self._relays else ""
            relay = self._relays[source.name] = LineRelay(last_line.encode())
        plan = replace(
            _publishing(self._plan, self.services, source.name),
            first_seq=self.dispatch.next_seq(source.name),
            last_line=last_line,
        )
        if generation > 0:
            plan = self._after(source.name, plan)
        self._plans[source.name] = plan
        config = LaneConfig(plan, self._addresses, source, table, goes_on)
        return LaneProcess(config, self.dispatch, self._log, relay)

    def _after(self, source: str, plan: LanePlan) -> LanePlan:
        """Let a lane go on with the epochs and connections of the one before it, which died."""
        before, report = self._plans[source], self.dispatch.report(source)
        told = None if report is None else report.message
        # One more than it told: it may have connected anew just before it died, also where it never told anything.
        first_epoch = 1 + (before.first_epoch if told is None else max(before.first_epoch, told.next_epoch))
        connections = before.connections if told is None else told.connections
        return replace(plan, first_epoch=first_epoch, connections=connections)

    def forget(self, source: str) -> None:
        """Keep nothing of a source that has gone."""
        self.dispatch.forget(source)
        self.services.publishing.forget(source)
        self._relays.pop(source, None)
        self._plans.pop(source, None)

    def clean_up(self) -> None:
        """Remove the sockets' folder."""
        self._folder.remove()
