"""From settings to a supervisor: everything that can be wrong with a job is found here, before any work."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from posestream.models.choice import AUTO, Choice, choose
from posestream.models.download import Progress, ignore_progress
from posestream.models.engines import check_device, is_simulated, runs
from posestream.models.errors import EngineError
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.addresses import check_listen_addresses, listen_addresses
from posestream.pipeline.made_with import MadeWith, check_made_with, made_with
from posestream.pipeline.outputs import LaneOutputs, plan_further_outputs, plan_outputs
from posestream.pipeline.replica.serving import Serving
from posestream.pipeline.security.guard import OPEN, ListenGuard, refuse_exposed
from posestream.pipeline.settings import NO_DEVICE, Settings
from posestream.stages.errors import SettingsError
from posestream.stages.group.implementation import choose_implementation
from posestream.stages.source.opening import SourceSettings, derive_names, is_missing, is_standard_input, open_source

__all__ = ["Job", "plan_job", "plan_source"]

_log = logging.getLogger(__name__)

#: What a source may be called: folders are called after it too, so that it is not one's own or the one above.
_NAME = re.compile(r"(?!\.{1,2}$)[a-z0-9_.-]{1,255}")


@dataclass(frozen=True, slots=True)
class Job:
    """A job whose settings, sources' names, outputs and network were found to be in order."""

    settings: Settings
    sources: tuple[SourceSettings, ...]
    outputs: tuple[LaneOutputs, ...]
    choice: Choice
    #: The devices of its replicas, one each.
    devices: tuple[str, ...]
    #: What guards the TCP sockets that it listens on.
    guard: ListenGuard = OPEN

    def serving(self, device: str) -> Serving:
        """What a replica on this device works with."""
        network, replicas = self.settings.network, self.settings.replicas
        return Serving(
            self.choice.spec,
            self.choice.weights,
            device,
            network.precision,
            replicas.requests,
            replicas.batch,
            replicas.hang_s,
            self.settings.group,
            network.ensemble,
        )

    def made_with(self, source: SourceSettings) -> MadeWith:
        """What decides what a source's outputs hold."""
        return made_with(self.choice.spec.name, self.settings.network, self.settings.group, source)


def plan_job(settings: Settings, store: WeightStore, progress: Progress = ignore_progress) -> Job:
    """Check a job and find its network.

    Raises:
        SettingsError: there is no source, an output must not be written or gone on with by these settings, or nothing
            groups as is asked for.
        SourceError: none of the sources is there.
        ModelError, EngineError: the network or the device is not to be had.
    """
    sources = _checked_sources(settings)
    outputs = plan_outputs(settings.output, sources)
    guard = _check_addresses(settings)
    choice, devices = _chosen(settings, store, progress)
    job = Job(settings, sources, outputs, choice, devices, guard)
    if settings.output.resume:
        for source, own in zip(sources, outputs, strict=True):
            check_made_with(own, job.made_with(source))
    return job


def _checked_sources(settings: Settings) -> tuple[SourceSettings, ...]:
    """Name the sources and look at what can be known of them without opening any."""
    if not settings.source and not settings.pipeline.control:
        raise SettingsError("no source: give a video file, a folder of pictures, a camera's index or a URL")
    sources = _named(settings.source)
    _refuse_standard_input(settings, sources)
    for source in sources:
        open_source(source)  # touches nothing, but finds what does not fit its kind
    if sources and all(is_missing(source.url) for source in sources):
        open_source(sources[0]).open()  # says what is missing before a network is fetched for nothing
    return sources


def _chosen(settings: Settings, store: WeightStore, progress: Progress) -> tuple[Choice, tuple[str, ...]]:
    """Choose the network, and the devices of the replicas of our own, all of which can run it."""
    devices = _devices(settings)
    if devices:
        _log.debug("grouping is %s", choose_implementation(settings.group.implementation))
    else:
        _log.info("waiting for workers at %s", ", ".join(settings.pipeline.listen))
    # A real device needs the network's files, which others then have too.
    wanted = min(devices, key=is_simulated, default=settings.network.device)
    for device in devices:
        if device != AUTO:
            check_device(device)  # before a network is fetched, and before it is said to be used there
    choice = choose(settings.network.model, wanted, store, load_registry(), progress)
    settings.group.check_fits(choice.spec.layout)
    devices = tuple(choice.device if device == AUTO else device for device in devices)
    for device in devices:
        if not runs(device, choice.spec):
            raise EngineError(f"device {device} cannot run {choice.spec.name}, which {wanted} runs")
    _log.info("%s", choice.reason)
    return choice, devices


def _refuse_standard_input(settings: Settings, sources: Sequence[SourceSettings]) -> None:
    """Refuse standard input where it cannot be read.

    Raises:
        SettingsError: it is read twice, or in a process of its own, which hears the head there.
    """
    readers = [source for source in sources if is_standard_input(source.url)]
    if len(readers) > 1:
        raise SettingsError("standard input (-) is given twice; only one source can read it")
    if readers and settings.pipeline.mode == "processes":
        raise SettingsError('standard input (-) can be read with pipeline.mode = "threads" only')


def plan_source(
    job: Job,
    source: SourceSettings,
    others: Sequence[SourceSettings],
    planned: Sequence[LaneOutputs],
    past: Container[str] = (),
) -> tuple[SourceSettings, LaneOutputs]:
    """Check one source more for a run that is going on, and give it its name and outputs.

    A name is used once in a run, so that the numbers of its messages never begin again.

    Args:
        job: what the run does.
        source: what is wanted.
        others: the sources that the run has or had.
        planned: their outputs.
        past: the names of those that are not among the others any more.

    Raises:
        SettingsError: its name, or an output, is not to be had, or something in it does not fit its kind.
        SourceError: it is a file that is not there.
    """
    if any(source.name == other.name for other in others) or (source.name and source.name in past):
        raise SettingsError(f"source name {source.name!r} was used in this run already; give another one")
    if is_standard_input(source.url):
        raise SettingsError("standard input (-) is the run's own, not that of who asks; give it when the run starts")
    sources = _named([*others, source], past)
    _refuse_standard_input(job.settings, sources)
    named = sources[-1]
    open_source(named)  # touches nothing, but finds what does not fit its kind
    if is_missing(named.url):
        open_source(named).open()  # says what is missing
    outputs = plan_further_outputs(job.settings.output, named, others, planned)
    if job.settings.output.resume:
        check_made_with(outputs, job.made_with(named))
    return named, outputs


def _check_addresses(settings: Settings) -> ListenGuard:
    """Refuse to listen where others can reach it unguarded, unless that was asked for; give the guard.

    Raises:
        SettingsError: an address is none, is wanted twice, or is not of this host alone, or the keys cannot be read.
    """
    table, guard = settings.pipeline, ListenGuard.of(settings.security.key)
    addresses = listen_addresses(settings)
    check_listen_addresses(addresses)
    bound = [one.address for one in addresses]
    exposed = refuse_exposed(bound, has_keys=guard.keys is not None, is_insecure=table.insecure)
    if exposed:
        _log.warning("%s can be reached from other hosts, and nothing authenticates them", ", ".join(exposed))
    return guard


def _devices(settings: Settings) -> tuple[str, ...]:
    """List the device of each replica of our own.

    Raises:
        SettingsError: there is none, and nobody else can come.
    """
    replicas = settings.replicas
    if replicas.devices == (NO_DEVICE,):
        if not settings.pipeline.listen:
            raise SettingsError("replicas.devices is none, and without --listen no worker can join")
        return ()
    return tuple(
        device for device in replicas.devices or (settings.network.device,) for _ in range(replicas.per_device)
    )


def _named(sources: Sequence[SourceSettings], past: Container[str] = ()) -> tuple[SourceSettings, ...]:
    """Give every source a name of its own, and none that is `past` to those without.

    Raises:
        SettingsError: a name that was given is not fit, or is given twice, or an address is empty.
    """
    if not all(source.url.strip() for source in sources):
        raise SettingsError("a source's address is empty: give a video file, a folder of pictures, a camera or a URL")
    given = [source.name for source in sources if source.name]
    for name in given:
        if not _NAME.fullmatch(name):
            raise SettingsError(f"source name {name!r}: use small letters, digits, and . _ -")
        if given.count(name) > 1:
            raise SettingsError(f"source name {name!r} is given twice")
    derived = iter(derive_names((source.url for source in sources if not source.name), given, past))
    return tuple(dataclasses.replace(source, name=source.name or next(derived)) for source in sources)
