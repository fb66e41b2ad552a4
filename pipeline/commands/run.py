"""`run SOURCE …`: the pipeline over any sources, with any outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from posestream.pipeline.addresses import LOCAL
from posestream.pipeline.commands.execute import execute
from posestream.pipeline.logs import LOG_FORMATS, set_up_logging
from posestream.pipeline.settings import Settings
from posestream.pipeline.toml_tables import Raw, load_toml, merged, parse_assignment
from posestream.stages.errors import SettingsError
from posestream.stages.source.place import is_there

__all__ = ["DEVICES", "console_options", "network_options", "run_command", "settings_of"]

#: What a device can be called.
DEVICES = "auto, cuda:N, tensorrt:N, cpu, intel-gpu, npu, ort-cpu, opencv-cpu, opencv-cuda:N."

#: Where outputs go that were asked for without a path.
_DEFAULT_VIDEO = "out/{source}.mp4"
_DEFAULT_JSONL = "out/{source}.jsonl"

#: Files with these endings are never meant to be replaced by lines, whatever --overwrite says.
_NO_LINES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".ts", ".jpg", ".jpeg", ".png"})

_DEBUG_HELP = "Log everything, and show tracebacks."

#: The options that take a path.
_PATHS = (
    *("save_video", "save_images", "save_jsonl", "save_openpose_json", "save_coco", "save_csv"),
    *("replay_log", "key", "clients"),
)

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

#: The options that every source of a run gets, by the key that they set.
_SOURCE_KEYS = {
    "max_frames": "max_frames",
    "start": "start_s",
    "kind": "kind",
    "realtime": "realtime",
    "transport": "transport",
    "policy": "policy",
    "max_age": "max_age_s",
    "fps": "fps",
    "step": "step",
    "rotate": "rotation",
    "roi": "roi",
    "hwaccel": "hwaccel",
}


def console_options(command: CommandT) -> CommandT:
    """Add the options that say how much is told, and how."""
    debug = click.option("--debug", is_flag=True, expose_value=False, callback=_note_debug, help=_DEBUG_HELP)
    log_format = click.option("--log-format", type=click.Choice(LOG_FORMATS), default="text", help="Format of the log.")
    quiet = click.option(
        "--quiet",
        "-q",
        is_flag=True,
        help="No progress bar, no summary; only errors, what was lost, and live sources that are away.",
    )
    version = click.version_option(package_name="posestream", prog_name="posestream")
    return debug(quiet(log_format(version(command))))


def _note_debug(context: click.Context, _option: click.Parameter, is_debugging: bool) -> None:
    """Take --debug behind the command too, where people add it when something went wrong."""
    context.obj = bool(context.obj) or is_debugging


def network_options(command: CommandT) -> CommandT:
    """Add the options that choose what infers, and the settings file they beat."""
    for option in (
        click.option("--set", "assignments", metavar="TABLE.KEY=VALUE", multiple=True, help="Set anything."),
        click.option("--config", type=click.Path(path_type=Path), help="A TOML settings file (see configs/)."),
        click.option("--net-height", type=int, help="Height of the network input, a multiple of 8.  [default: 256]"),
        click.option("--device", help=DEVICES),
        click.option("--model", help="A network (see `models list`), or auto."),
    ):
        command = option(command)
    return command


def source_options(command: CommandT) -> CommandT:
    """Add the options that say how sources are read."""
    for option in (
        click.option("--hwaccel", metavar="NAME", help="Decode on hardware: cuda, vaapi, qsv, videotoolbox ..."),
        click.option("--roi", nargs=4, type=int, metavar="X Y WIDTH HEIGHT", help="Look only here, in pixels."),
        click.option("--rotate", type=click.Choice(["90", "180", "270"]), help="Turn the picture clockwise."),
        click.option("--step", type=click.IntRange(1), metavar="N", help="Take every Nth frame."),
        click.option("--fps", type=click.FloatRange(0, min_open=True), help="Take at most so many frames a second."),
        click.option(
            "--max-age",
            type=click.FloatRange(0, min_open=True),
            metavar="SECONDS",
            help="Infer no frame that is older.  [live: 0.5]",
        ),
        click.option(
            "--policy",
            type=click.Choice(["every-frame", "newest"]),
            help="Let sources wait, or let the newest frame win.  [live: newest, recorded: every-frame]",
        ),
        click.option("--transport", type=click.Choice(["tcp", "udp"]), help="How RTSP's pictures travel.  [tcp]"),
        click.option("--realtime", is_flag=True, help="Play files at their own speed, as if they were cameras."),
        click.option("--kind", type=click.Choice(["live", "recorded"]), help="What a URL is, if that is not told."),
    ):
        command = option(command)
    return command


@click.command("run")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@network_options
@click.option(
    "--save-video",
    is_flag=False,
    flag_value=_DEFAULT_VIDEO,
    metavar="[FILE.mp4]",
    help=f"Write the video with skeletons.  [without FILE: {_DEFAULT_VIDEO}]",
)
@click.option("--save-images", metavar="DIR", help="Write each picture with skeletons.")
@click.option(
    "--save-jsonl",
    is_flag=False,
    flag_value=_DEFAULT_JSONL,
    metavar="[FILE.jsonl]",
    help=f"Write one message per frame; - is standard output.  [without FILE: {_DEFAULT_JSONL}]",
)
@click.option("--save-openpose-json", metavar="DIR", help="Write one file per frame in OpenPose's JSON 1.3.")
@click.option("--save-coco", metavar="FILE.json", help="Write COCO's keypoint results.")
@click.option("--save-csv", metavar="FILE.csv", help="Write a row per person and frame.")
@click.option("--segment", type=click.FloatRange(1), metavar="SECONDS", help="Cut recordings into files of so long.")
@click.option("--quota", type=click.FloatRange(0, min_open=True), metavar="MB", help="Of each remove the oldest files.")
@click.option("--display", is_flag=True, help="Show the video in a window; q closes it.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="Stop each source after N frames.")
@click.option("--start", type=click.FloatRange(0), metavar="SECONDS", help="Skip the beginning of each file.")
@source_options
@click.option("--resume", is_flag=True, help="Go on where the outputs of a run end that was killed.")
@click.option("--mode", type=click.Choice(["threads", "processes"]), help="What runs where.  [default: threads]")
@click.option("--listen", multiple=True, metavar="tcp://HOST:PORT", help="Let workers of other hosts join here.")
@click.option("--publish", multiple=True, metavar="tcp://HOST:PORT", help="Let subscribers listen here.")
@click.option("--replay-log", metavar="DIR", help="Keep what subscribers may ask for again on disk.")
@click.option("--key", metavar="FILE.key_secret", help="Encrypt what goes over TCP with this key (`keys new`).")
@click.option("--clients", metavar="DIR", help="Let only those connect whose public keys are here.")
@click.option(
    "--control",
    is_flag=False,
    flag_value=LOCAL,
    metavar="[ADDRESS]",
    help="Go on until stopped, with or without sources; `control` changes them.  [without ADDRESS: a local socket]",
)
@click.option("--insecure", is_flag=True, help="Listen where others can reach it, unauthenticated.")
@click.option("--single-person", is_flag=True, help="Take each heatmap's maximum, for one person.")
@console_options
@click.pass_obj
def run_command(is_debugging: bool, /, quiet: bool, log_format: str, **options: Any) -> int:
    """Find the people in video files, folders or globs of pictures, cameras and streams.

    Several sources run at the same time. In a FILE or DIR, {source} stands for the source's name.
    """
    # Lines may be the output, so that everything else goes to standard error.
    console = Console(stderr=True)
    set_up_logging(console, log_format, is_quiet=quiet, is_debugging=is_debugging)
    return execute(settings_of(options), console, is_quiet=quiet, log_format=log_format)


def settings_of(options: dict[str, Any]) -> Settings:
    """Lay the command line over the settings file, and `--set` over both.

    Raises:
        SettingsError: something in them is wrong.
    """
    _refuse_empty_paths(options)
    config: Path | None = options.get("config")
    raw: Raw = load_toml(config) if config is not None else {}
    raw = merged(raw, _tables_of(options))
    if options.get("sources"):
        raw["source"] = [{"url": url} for url in options["sources"]]
    raw["source"] = [{**table, **_each_source(options)} for table in _source_list(raw)]
    for assignment in options.get("assignments", ()):
        raw = merged(raw, parse_assignment(assignment))
    _hint_at_swallowed_source(raw, options)
    return Settings.parse(raw, str(config) if config is not None else "settings")


def _refuse_empty_paths(options: dict[str, Any]) -> None:
    """Say which option was given nothing, as `--key "$KEY"` does without KEY: it is not the same as no option."""
    for option in _PATHS:
        value = options.get(option)
        if value is not None and not value.strip():
            raise SettingsError(f"--{option.replace('_', '-')} is given an empty path; give a path, or leave it out")


def _source_list(raw: Raw) -> list[Raw]:
    sources = raw.get("source", [])
    if not isinstance(sources, list) or not all(isinstance(table, dict) for table in sources):
        raise SettingsError("source: write each one as a [[source]] table")
    return sources


def _each_source(options: dict[str, Any]) -> Raw:
    given = {key: options.get(option) for option, key in _SOURCE_KEYS.items()}
    given["rotation"] = int(given["rotation"]) if given["rotation"] else None
    return {key: value for key, value in given.items() if value is not None and value is not False}


def _tables_of(options: dict[str, Any]) -> Raw:
    """Give the tables that the command line's options stand for, those that were given."""
    network = {key: options.get(key) for key in ("model", "device", "net_height")}
    outputs: dict[str, Any] = {
        "video": {"path": options.get("save_video")},
        "images": {"folder": options.get("save_images")},
        "jsonl": {"path": options.get("save_jsonl")},
        "openpose_json": {"folder": options.get("save_openpose_json")},
        "coco": {"path": options.get("save_coco")},
        "csv": {"path": options.get("save_csv")},
    }
    given: Raw = {name: table for name, table in outputs.items() if None not in table.values()}
    if options.get("display"):
        given["display"] = {}
    cut = {"segment_s": options.get("segment"), "quota_mb": options.get("quota")}
    given |= {key: value for key, value in cut.items() if value is not None}
    given |= {key: True for key in ("overwrite", "resume") if options.get(key)}
    pipeline = {key: options.get(key) for key in ("mode", "listen", "insecure")}
    publish = {"addresses": options.get("publish"), "log_folder": options.get("replay_log")}
    security = {key: options.get(key) for key in ("key", "clients")}
    pipeline["control"] = [options["control"]] if options.get("control") else None
    tables: Raw = {
        "publish": {key: value for key, value in publish.items() if value},
        "security": {key: value for key, value in security.items() if value},
        "network": {key: value for key, value in network.items() if value is not None},
        "pipeline": {key: value for key, value in pipeline.items() if value},
        "output": given,
    }
    if options.get("single_person"):
        tables["group"] = {"single_person": True}
    return tables


def _hint_at_swallowed_source(raw: Raw, options: dict[str, Any]) -> None:
    """Say what happened in `run --save-video clip.mp4`, where the option took the source for its file."""
    for option in ("save_video", "save_jsonl"):
        path = options.get(option)
        if not path or not is_there(path):
            continue
        flag = "--" + option.replace("_", "-")
        if not raw["source"]:
            raise SettingsError(f"no source: {flag} took {path} as its file; write the source before the options")
        if option == "save_jsonl" and Path(path).suffix.lower() in _NO_LINES:
            raise SettingsError(f"{flag} took {path} as its file; write the sources before the options")
