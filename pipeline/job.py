"""From settings to a supervisor: everything that can be wrong with a job is found here, before any work."""

from __future__ import annotations

import dataclasses
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from posestream.models.choice import Choice, choose
from posestream.models.download import Progress, ignore_progress
from posestream.models.engines import check_device, device_family
from posestream.models.errors import EngineError
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.dispatch_loop import DispatchLoop
from posestream.pipeline.lane import Lane, LanePlan
from posestream.pipeline.outputs import LaneOutputs, plan_outputs
from posestream.pipeline.replica import Replica
from posestream.pipeline.serving import Serving, serve_message
from posestream.pipeline.settings import Settings
from posestream.pipeline.sockets import Addresses
from posestream.pipeline.supervisor import Supervisor
from posestream.stages.errors import SettingsError
from posestream.stages.output import Sink
from posestream.stages.source import SourceSettings, derive_names, open_source

__all__ = ["Job", "plan_job", "start_job"]

_log = logging.getLogger(__name__)

#: What a source may be called.
_NAME = re.compile(r"[a-z0-9_.-]+")
#: Frames of one source in flight for each replica: what its engine works on and the few that wait there.
_WINDOW_PER_REPLICA = 8
#: Frames of one source in flight beside those: being decoded, scaled, put in order and written.
_WINDOW_OF_LANE = 4


@dataclass(frozen=True, slots=True)
class Job:
    """A job whose settings, sources' names, outputs and network were found to be in order."""

    settings: Settings
    sources: tuple[SourceSettings, ...]
    outputs: tuple[LaneOutputs, ...]
    choice: Choice
    #: The devices of its replicas, one each.
    devices: tuple[str, ...]

    @property
    def window(self) -> int:
        """Frames of one source in flight at most."""
        wanted = _WINDOW_PER_REPLICA * len(self.devices) + _WINDOW_OF_LANE
        return self.settings.replicas.window or wanted

    def serving(self, device: str) -> Serving:
        """What a replica on this device works with."""
        network, requests = self.settings.network, self.settings.replicas.requests
        return Serving(self.choice.spec, self.choice.weights, device, network.precision, requests, self.settings.group)


def plan_job(settings: Settings, store: WeightStore, progress: Progress = ignore_progress) -> Job:
    """Check a job and find its network.

    Raises:
        SettingsError: there is no source, or an output must not be written.
        ModelError, EngineError: the network or the device is not to be had.
    """
    if not settings.source:
        raise SettingsError("no source: give a video file, a folder of pictures, a camera's index or a URL")
    sources = _named(settings.source)
    for source in sources:
        open_source(source)  # touches nothing, but finds what does not fit its kind
    outputs = plan_outputs(settings.output, sources)
    devices = settings.replicas.devices or (settings.network.device,)
    choice = choose(settings.network.model, devices[0], store, load_registry(), progress)
    _log.info("%s", choice.reason)
    devices = tuple(choice.device if device == "auto" else device for device in devices)
    for device in devices:
        if device_family(device) not in choice.spec.devices:
            raise EngineError(f"device {device} cannot run {choice.spec.name}, which {devices[0]} runs")
        check_device(device)
    return Job(settings, sources, outputs, choice, devices)


def start_job(job: Job, extra_sinks: Sequence[Callable[[str], Sink]] = ()) -> Supervisor:
    """Make a job's parts and start them; `extra_sinks` make an output more for each source, given its name."""
    run = secrets.token_hex(3)
    addresses = Addresses.inproc(run)
    context = zmq.Context()
    spec, settings = job.choice.spec, job.settings
    plan = LanePlan(run, settings.network.net_height, spec.input.multiple, spec.name, spec.layout_name, job.window)

    def make_replicas(on_end: Callable[[], None]) -> list[Replica]:
        return [
            Replica(f"replica-{number}", context, addresses, job.serving(device), on_end)
            for number, device in enumerate(job.devices, 1)
        ]

    def make_lanes(on_end: Callable[[], None]) -> list[Lane]:
        return [
            Lane(
                plan,
                context,
                addresses,
                open_source(source),
                [*outputs.sinks(), *(make(source.name) for make in extra_sinks)],
                outputs.picture_sinks(),
                on_end,
            )
            for source, outputs in zip(job.sources, job.outputs, strict=True)
        ]

    dispatch = DispatchLoop(context, addresses, serve_message(spec, settings))
    supervisor = Supervisor(context, dispatch, make_replicas, make_lanes)
    supervisor.start()
    return supervisor


def _named(sources: Sequence[SourceSettings]) -> tuple[SourceSettings, ...]:
    """Give every source a name of its own.

    Raises:
        SettingsError: a name that was given is not fit, or is given twice.
    """
    given = [source.name for source in sources if source.name]
    for name in given:
        if not _NAME.fullmatch(name):
            raise SettingsError(f"source name {name!r}: use small letters, digits, and . _ -")
        if given.count(name) > 1:
            raise SettingsError(f"source name {name!r} is given twice")
    derived = iter(derive_names((source.url for source in sources if not source.name), taken=given))
    return tuple(dataclasses.replace(source, name=source.name or next(derived)) for source in sources)
