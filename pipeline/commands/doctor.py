"""`doctor`: what this machine has and lacks, with a speed test of each device, and what to install."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posestream.pipeline.commands.console import show_table, standard_output
from posestream.pipeline.doctor.decoders import look_at_decoders
from posestream.pipeline.doctor.devices import look_at_devices
from posestream.pipeline.doctor.finding import Finding, State
from posestream.pipeline.doctor.gpu import gpu_table, try_gpus
from posestream.pipeline.doctor.grouping import look_at_grouping
from posestream.pipeline.doctor.software import look_at_software
from posestream.pipeline.doctor.system import look_at_system
from posestream.pipeline.errors import ExitCode

__all__ = ["doctor_command"]

#: What is looked at, in this order.
_LOOKS: tuple[Callable[[], list[Finding]], ...] = (
    look_at_software,
    look_at_system,
    look_at_decoders,
    look_at_grouping,
    look_at_devices,
)
_STYLES = {State.OK: "green", State.ABSENT: "dim", State.WARNING: "yellow", State.ERROR: "bold red"}
#: Narrower terminals break the table's lines; squeezed any further they could not be read.
_LEAST_COLUMNS = 72


@click.command("doctor")
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--gpu", "is_gpu", is_flag=True, help="Try all that needs a GPU or NPU, and print a table to paste.")
def doctor_command(is_json: bool, is_gpu: bool) -> int:
    """Look at this machine: packages, grouping, engines, devices and their speed, decoders, folders and limits.

    The exit code is 4 where something is missing without which nothing works, and with --gpu where no trial succeeded.
    """
    if is_gpu:
        trials = try_gpus()
        click.echo(json.dumps([trial.to_json() for trial in trials]) if is_json else gpu_table(trials))
        return ExitCode.DONE if any(not trial.failure for trial in trials) else ExitCode.ENGINE
    findings: list[Finding] = []
    with Console(stderr=True).status("looking…", spinner="line") as status:
        for look in _LOOKS:
            status.update(f"{getattr(look, '__name__', 'look')}…".replace("_", " "))
            findings += look()
    is_usable = all(finding.state is not State.ERROR for finding in findings)
    if is_json:
        told = [finding.to_json() for finding in findings]
        (decoder,) = look_at_grouping()
        click.echo(json.dumps({"usable": is_usable, "grouping": decoder.data["implementation"], "findings": told}))
    else:
        _show(findings)
    return ExitCode.DONE if is_usable else ExitCode.ENGINE


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "what", "how it is", "to have or mend it"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "")
    section = ""
    for finding in findings:
        if finding.section != section:
            table.add_row("", Text(finding.section, "bold"))
            section = finding.section
        state = Text(str(finding.state), _STYLES[finding.state])
        table.add_row(state, Text(finding.name), Text(finding.text), Text(finding.advice))
    with standard_output() as output:
        show_table(output, table, least_columns=_LEAST_COLUMNS)
