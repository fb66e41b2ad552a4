"""`bench …`: measurements, each of which prints one JSON object as its last line."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from posestream.pipeline.bench.churn import ChurnPlan, measure_churn
from posestream.pipeline.bench.engines import EnginesPlan, measure_engines
from posestream.pipeline.bench.faults import FAULTS, FaultsPlan, measure_faults
from posestream.pipeline.bench.group import group_command
from posestream.pipeline.bench.hop import measure_hop
from posestream.pipeline.bench.live import LivePlan, measure_live
from posestream.pipeline.bench.measure import clip_path
from posestream.pipeline.bench.network import measure_network
from posestream.pipeline.bench.pipeline import measure_pipeline
from posestream.pipeline.bench.publish import Kind, PublishBenchPlan, measure_publish
from posestream.pipeline.bench.recovery import measure_recovery
from posestream.pipeline.bench.scale import Mode, ScalePlan, measure_scale
from posestream.pipeline.bench.soak import SoakPlan, measure_soak
from posestream.pipeline.commands.run import network_options, settings_of
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.logs import set_up_logging
from posestream.pipeline.settings import Settings

__all__ = ["bench_command"]


#: What `--mode` may be.
_MODES = click.Choice(["threads", "processes"])


def _numbers(_context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Read a list such as "1,2,4,8"."""
    numbers = tuple(int(word) for word in text.split(",") if word.strip().isdecimal())
    if len(numbers) != len(text.split(",")) or 0 in numbers:
        raise click.BadParameter(f"{text!r} is no list of numbers such as 1,2,4", param=option)
    return numbers


@click.group("bench")
def bench_command() -> None:
    """Measure this machine; the last line of standard output is one JSON object."""


bench_command.add_command(group_command)


def _set_up() -> None:
    set_up_logging(Console(stderr=True), "text", is_quiet=False, is_debugging=False)


def _settings(options: dict[str, Any]) -> Settings:
    _set_up()
    return settings_of(options)


@bench_command.command("network")
@network_options
@click.option(
    "--net-width", type=click.IntRange(64), default=456, show_default=True, help="Width of the network input."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="The median of these is told.")
@click.option("--frames", type=click.IntRange(8), default=100, show_default=True, help="Inferences in a round.")
def network_command(net_width: int, rounds: int, frames: int, **options: Any) -> None:
    """Measure the bare network, asynchronous."""
    measure_network(_settings(options), net_width, rounds, frames)


@bench_command.command("engines")
@click.option("--model", default="auto", show_default=True, help="A network (see `models list`).")
@click.option("--net-height", type=click.IntRange(64), default=256, show_default=True, help="Of the network input.")
@click.option("--net-width", type=click.IntRange(64), default=456, show_default=True, help="Of the network input.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="The median of these is told.")
@click.option("--frames", type=click.IntRange(8), default=60, show_default=True, help="Inferences in a round.")
@click.option("--benchmark-app", is_flag=True, help="Run OpenVINO's own tool beside them.")
def engines_command(model: str, net_height: int, net_width: int, rounds: int, frames: int, benchmark_app: bool) -> None:
    """Measure a network on every engine and precision of this machine, interleaved."""
    _set_up()
    measure_engines(EnginesPlan(model, net_width, net_height, rounds, frames, benchmark_app))


@bench_command.command("pipeline")
@click.argument("file", required=False)
@network_options
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="The median of these is told.")
def pipeline_command(file: str | None, rounds: int, **options: Any) -> None:
    """Measure the whole pipeline over FILE (or the sample clip) beside the bare network."""
    measure_pipeline(_settings(options), clip_path(file), rounds)


@bench_command.command("scale")
@click.option("--replicas", default="1,2,4,8", show_default=True, callback=_numbers, help="How many, one run each.")
@click.option(
    "--service-ms", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Time of one inference."
)
@click.option("--each-ms", type=click.FloatRange(0), help="More for each picture; then 8 are inferred together.")
@click.option("--mode", type=_MODES, default="threads", show_default=True, help="What runs where.")
@click.option("--seconds", type=click.FloatRange(0.5), default=5.0, show_default=True, help="Time of one measurement.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="The median of these is told.")
def scale_command(
    replicas: tuple[int, ...], service_ms: float, each_ms: float | None, mode: Mode, seconds: float, rounds: int
) -> None:
    """Measure how speed grows with replicas, on devices that only pretend and frames that cost nothing."""
    _set_up()
    measure_scale(ScalePlan(replicas, service_ms, each_ms, mode, seconds, rounds))


@bench_command.command("live")
@click.argument("file", required=False)
@network_options
@click.option("--streams", default="1,2,4,8", show_default=True, callback=_numbers, help="How many, one run each.")
@click.option("--fps", type=click.IntRange(1, 240), default=25, show_default=True, help="Frames a second of each.")
@click.option("--seconds", type=click.FloatRange(1), default=20.0, show_default=True, help="Time of one measurement.")
def live_command(file: str | None, streams: tuple[int, ...], fps: int, seconds: float, **options: Any) -> None:
    """Measure the age of results, drops and costs of RTSP streams of FILE (or the sample clip) in 720p."""
    measure_live(_settings(options), file, LivePlan(streams, fps, seconds))


@bench_command.command("soak")
@click.argument("file", required=False)
@network_options
@click.option("--streams", type=click.IntRange(1), default=1, show_default=True, help="How many at the same time.")
@click.option("--kills", type=click.IntRange(0), default=10, show_default=True, help="Times the server is killed.")
@click.option("--seconds", type=click.FloatRange(1), default=300.0, show_default=True, help="Time of it all.")
def soak_command(file: str | None, streams: int, kills: int, seconds: float, **options: Any) -> None:
    """Kill and restart the streams' server again and again: when they are back, and whether memory grows."""
    measure_soak(_settings(options), file, SoakPlan(seconds, streams, kills))


@bench_command.command("churn")
@click.option("--changes", type=click.IntRange(1), default=300, show_default=True, help="Sources that come and go.")
@click.option("--mode", type=_MODES, default="threads", show_default=True, help="What runs where.")
@click.option("--source", default="synthetic:64x64", show_default=True, help="The address of each of them.")
@click.option("--published/--no-published", default=True, show_default=True, help="Publish over TCP.")
def churn_command(changes: int, mode: Mode, source: str, published: bool) -> None:
    """Add and remove sources while a run goes on, and measure what each leaves in memory."""
    _set_up()
    measure_churn(ChurnPlan(changes, mode, source, published))


@bench_command.command("hop")
@click.option("--hops", type=click.IntRange(10), default=1000, show_default=True, help="Messages in a measurement.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="The median of these is told.")
def hop_command(hops: int, rounds: int) -> None:
    """Measure what a hop costs: a network input and a frame's key, over inproc, ipc and tcp."""
    measure_hop(hops, rounds)


@bench_command.command("recovery")
@click.option("--replicas", type=click.IntRange(2), default=2, show_default=True, help="Processes; one is killed.")
@click.option(
    "--service-ms", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Time of one inference."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Kills, one after another.")
def recovery_command(replicas: int, service_ms: float, rounds: int) -> None:
    """Measure the time from a replica's SIGKILL to the first result of a frame that it held."""
    _set_up()
    measure_recovery(replicas, service_ms, rounds)


@bench_command.command("faults")
@click.option("--runs", type=click.IntRange(1), default=20, show_default=True, help="Runs of each fault of chance.")
@click.option("--only", type=click.Choice(list(FAULTS)), multiple=True, help="These faults.  [default: all of them]")
@click.option("--messages", type=click.IntRange(1), default=10_000, show_default=True, help="To each socket.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Runs at the same time.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another one disturbs at other moments.")
def faults_command(runs: int, only: tuple[str, ...], messages: int, jobs: int, seed: int) -> int:
    """Kill, stop, cut off and shout at real processes, and compare what comes out with an undisturbed run."""
    _set_up()
    plan = FaultsPlan(runs, only, messages=messages, jobs=jobs, seed=seed)
    return ExitCode.DONE if measure_faults(plan) else ExitCode.BUG


@bench_command.command("publish")
@click.option("--subscribers", default="1,10,25,50", show_default=True, callback=_numbers, help="How many of them.")
@click.option("--kind", "kinds", type=click.Choice(["decode", "receive"]), multiple=True, help="[default: both]")
@click.option("--rate", type=click.FloatRange(1), default=100.0, show_default=True, help="Messages a second.")
@click.option("--people", type=click.IntRange(0), default=10, show_default=True, help="People in each.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="How long each run is.")
@click.option("--curve", is_flag=True, help="With keys: everything is encrypted.")
@click.option("--stopped/--no-stopped", default=True, show_default=True, help="Once more with one that is stopped.")
def publish_command(
    subscribers: tuple[int, ...],
    kinds: tuple[Kind, ...],
    rate: float,
    people: int,
    seconds: float,
    curve: bool,
    stopped: bool,
) -> None:
    """Measure what listeners, each a process, get of messages: losses, delay, CPU, memory."""
    _set_up()
    kinds = kinds or ("decode", "receive")
    measure_publish(PublishBenchPlan(subscribers, kinds, rate, people, seconds, curve, stopped))
