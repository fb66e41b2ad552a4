"""`worker --connect tcp://HOST:PORT`: a replica for a head on this or another machine."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from posestream.pipeline.commands.run import DEVICES
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.logs import LOG_FORMATS, set_up_logging
from posestream.pipeline.replica.worker import Worker
from posestream.pipeline.security.guard import ConnectGuard
from posestream.pipeline.security.hosts import ipv6_error
from posestream.stages.errors import SettingsError

__all__ = ["worker_command"]

_HIGHEST_PORT = 65535


def _address(_context: click.Context, _option: click.Parameter, address: str) -> str:
    """Refuse what no head can listen at, before anything waits for it."""
    scheme, _, rest = address.partition("://")
    if scheme == "ipc" and rest and not rest.startswith("@"):
        return address
    host, _, port = rest.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= _HIGHEST_PORT
    if not (scheme == "tcp" and host and is_port):
        raise SettingsError(
            f"--connect {address}: write tcp://HOST:PORT, with a port from 1 to {_HIGHEST_PORT}, or ipc://PATH"
        )
    if (error := ipv6_error(host)) is not None:
        raise SettingsError(f"--connect {address}: {error}")
    return address


def _number(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Refuse what is no number: every comparison with it is false."""
    if math.isnan(value):
        raise SettingsError("--patience nan: write a number of seconds")
    return value


@click.command("worker")
@click.option(
    "--connect",
    required=True,
    callback=_address,
    metavar="tcp://HOST:PORT",
    help="Where a head listens (run --listen); ipc://PATH on its own host.",
)
@click.option("--device", default="auto", show_default=True, help=DEVICES)
@click.option(
    "--patience",
    type=click.FloatRange(1),
    callback=_number,
    default=30.0,
    show_default=True,
    help="Seconds the head may be away.",
)
@click.option("--key", type=click.Path(path_type=Path), help="Your secret key, where the head wants keys.")
@click.option("--server-key", type=click.Path(path_type=Path), help="The head's public key.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), default="text", help="Format of the log.")
@click.option("--quiet", "-q", is_flag=True, help="Only errors.")
@click.pass_obj
def worker_command(
    is_debugging: bool,
    /,
    connect: str,
    device: str,
    patience: float,
    log_format: str,
    quiet: bool,
    **keys: Path | None,
) -> int:
    """Serve a running head: it says with which network. Ctrl-C finishes what is in hand and leaves; twice: at once."""
    set_up_logging(Console(stderr=True), log_format, is_quiet=quiet, is_debugging=is_debugging)
    worker = Worker(connect, device, patience, ConnectGuard.of(keys["key"], keys["server_key"]))

    def leave(_number: int, _frame: FrameType | None) -> None:
        if worker.is_stopping:
            # What is in hand, or loads, may take minutes; the head gives its frames to others.
            os._exit(ExitCode.STOPPED_AT_ONCE)
        worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    return int(worker.run())
