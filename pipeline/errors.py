"""What can go wrong in the running pipeline, and the exit code that each failure has."""

from __future__ import annotations

from enum import IntEnum

from posestream.models.errors import EngineError, ModelError
from posestream.stages.errors import OutputError, SettingsError, SourceError

__all__ = [
    "DecodeError",
    "ExitCode",
    "HeadError",
    "HungError",
    "OtherHeadError",
    "PipelineError",
    "ReplicaError",
    "exit_code_of",
    "is_expected",
]


class ExitCode(IntEnum):
    """What the command line's exit code means."""

    DONE = 0
    BUG = 1
    USAGE = 2
    SOURCE = 3
    ENGINE = 4
    OUTPUT = 5
    REPLICAS = 6
    STOPPED_AT_ONCE = 130


class PipelineError(Exception):
    """The pipeline cannot go on."""


class HeadError(PipelineError):
    """A worker's head is not there, or has gone."""


class OtherHeadError(HeadError):
    """Another head is in the place of the one that a replica serves."""


class ReplicaError(PipelineError):
    """Replicas kept failing."""


class HungError(ReplicaError):
    """An inference, or grouping, has not ended for so long that it never will."""


class DecodeError(PipelineError):
    """Bytes from a socket are not a message of ours."""


#: The exit code of each kind of error; the first class that fits counts.
_EXIT_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (SettingsError, ExitCode.USAGE),
    (SourceError, ExitCode.SOURCE),
    (ModelError, ExitCode.ENGINE),
    (EngineError, ExitCode.ENGINE),
    (OutputError, ExitCode.OUTPUT),
    (HeadError, ExitCode.ENGINE),
    (ReplicaError, ExitCode.REPLICAS),
)


def exit_code_of(error: BaseException) -> ExitCode:
    """Give the exit code for an error; what is not expected is a bug."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), ExitCode.BUG)


def is_expected(error: BaseException) -> bool:
    """Tell whether an error's text is made for users (and its traceback is not)."""
    return exit_code_of(error) is not ExitCode.BUG
