"""The commands under one roof, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

import click
from rich.console import Console

from posestream.pipeline.commands.bench import bench_command
from posestream.pipeline.commands.console import drop_standard_output
from posestream.pipeline.commands.control import control_command
from posestream.pipeline.commands.demo import demo_command
from posestream.pipeline.commands.doctor import doctor_command
from posestream.pipeline.commands.eval import eval_command
from posestream.pipeline.commands.keys import keys_command
from posestream.pipeline.commands.models import models_command
from posestream.pipeline.commands.run import run_command
from posestream.pipeline.commands.subscribe import subscribe_command
from posestream.pipeline.commands.worker import worker_command
from posestream.pipeline.errors import ExitCode, exit_code_of, is_expected
from posestream.pipeline.logs import json_entry, one_line
from posestream.stages.redact import redacted_text

__all__ = ["run_words"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="posestream", prog_name="posestream")
@click.option("--debug", is_flag=True, help="Log everything, and show tracebacks.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Turn live and recorded video into people's 2D keypoints."""
    context.obj = debug


for command in (
    demo_command,
    run_command,
    control_command,
    worker_command,
    doctor_command,
    subscribe_command,
    keys_command,
    models_command,
    eval_command,
    bench_command,
):
    cli.add_command(command)


def run_words(words: list[str]) -> int:
    """Run a command line and give the exit code."""
    _mend_standard_streams()
    tell = _tell_json if _asks_for_json(words) else _tell
    try:
        # Not cli.main, which says a word of its own about a Ctrl-C and a reader that has gone.
        with cli.make_context("posestream", list(words)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        # Without a command the help is the answer, as it was laid out.
        is_help = isinstance(error, click.exceptions.NoArgsIsHelpError)
        return (_tell_help if is_help else tell)(error.format_message(), ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return tell("stopped", ExitCode.STOPPED_AT_ONCE)
    except BrokenPipeError:
        drop_standard_output()
        return ExitCode.OUTPUT
    except Exception as error:  # noqa: BLE001 - the one place where whatever is left becomes an exit code
        if "--debug" in words:
            Console(stderr=True).print_exception()
        text = str(error) if is_expected(error) else f"unexpected {type(error).__name__}: {error} (--debug tells more)"
        return tell(text, exit_code_of(error))
    return int(code or 0)


def _mend_standard_streams() -> None:
    """Make standard output and error fit to write to: letters that they lack are written out.

    Where the caller closed them, the first files that are opened would get their numbers and everybody's messages.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 — it stays open to the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 — it stays open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _asks_for_json(words: Sequence[str]) -> bool:
    """Tell whether errors are to be JSON too, those about the command line itself included."""
    return "--log-format=json" in words or ("--log-format", "json") in pairwise(words)


def _tell(text: str, code: ExitCode) -> int:
    """Say on one line of standard error what went wrong."""
    level = "" if code is ExitCode.STOPPED_AT_ONCE else "error: "
    sys.stderr.write(f"posestream: {level}{one_line(redacted_text(text))}\n")
    return int(code)


def _tell_help(text: str, code: ExitCode) -> int:
    """Give the help to who asked for nothing."""
    sys.stderr.write(f"{text}\n")
    return int(code)


def _tell_json(text: str, code: ExitCode) -> int:
    """Say as one JSON object on standard error what went wrong."""
    sys.stderr.write(json_entry(time.time(), "error", "posestream", text) + "\n")
    return int(code)
