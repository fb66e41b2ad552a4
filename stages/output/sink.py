"""What every output is: it opens for a source, takes its ended frames in order, and closes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.items import Drop, Frame, Poses, Reason
from posestream.stages.message import Message
from posestream.stages.output.held import Held

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = [
    # what an output takes
    "Ended",
    # kinds of outputs
    "PictureSink",
    "Sink",
    # before any work
    "check_free",
    "check_folder_free",
    "check_writable",
    "make_folder",
    # failures
    "append_whole",
    "output_errors",
    "write_whole",
]


@dataclass(frozen=True, slots=True)
class Ended:
    """A frame that has ended, as poses or as a drop, and what is told of it."""

    frame: Frame
    outcome: Poses | Drop
    message: Message

    @property
    def was_stopped(self) -> bool:
        """True if its turn did not come before everything was stopped: a job that goes on does it then."""
        return isinstance(self.outcome, Drop) and self.outcome.reason is Reason.STOPPED


class _Output(Protocol):
    """What outputs of both kinds have in common.

    All calls come from one thread, frames in order of `seq`. After an error only `close` is called.
    """

    @property
    def name(self) -> str:
        """What people call it: its kind and where it writes."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files or folders it wrote so far."""

    def resume(self, source: str, since_s: float) -> Held | None:
        """Look at what an earlier process left of a source, and go on from there instead of beginning anew.

        Called before `open`. What is not surely whole is cut off; what is held is not written a second time.

        Args:
            source: the source's name.
            since_s: files that were last written before, in seconds since 1970, are not gone on with but replaced:
                they are there from another run.

        Returns:
            What it holds; None for an output that keeps nothing, so that nothing in it can be missing.

        Raises:
            OutputError: it cannot be gone on with.
        """

    def open(self, info: SourceInfo) -> None:
        """Make ready for a source.

        Raises:
            OutputError: it cannot be written.
        """

    def close(self) -> None:
        """Write what is held back and let go of everything; closing again does nothing.

        Raises:
            OutputError: what was held back could not be written.
        """


class Sink(_Output, Protocol):
    """An output that needs no picture."""

    def write(self, ended: Ended) -> None:
        """Take one ended frame.

        Raises:
            OutputError: it could not be written.
        """


class PictureSink(_Output, Protocol):
    """An output of pictures. The rendered picture is drawn once and shared: a sink never changes it."""

    def write(self, ended: Ended, picture_bgr: NDArray[np.uint8] | None) -> None:
        """Take one ended frame and its picture: rendered, plain after a drop, None where there is none.

        The array (uint8 H×W×3) is left unchanged by everybody from now on.

        Raises:
            OutputError: it could not be written.
        """


def check_free(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work, an output file that exists (without `overwrite`) or is an input (always).

    Raises:
        SettingsError: the output must not be written there.
    """
    if path.is_dir():
        raise SettingsError(f"output {path} is a folder; give the path of a file in it")
    if not path.exists():
        return
    if any(_is_same(path, source) for source in inputs):
        raise SettingsError(f"output {path} is also an input; give another path")
    if not overwrite and path.is_file():
        raise SettingsError(
            f"output {path} exists; give another path or allow overwriting (--overwrite, output.overwrite)"
        )


def check_writable(path: Path) -> None:
    """Refuse, before any work, a text file that cannot be written; its folder is created where missing.

    A space is written, to a device or where a new file will be: that there is no room shows only then.

    Raises:
        OutputError: it cannot be written.
    """
    make_folder(path.parent)
    with output_errors(path):
        if path.is_file():
            path.open("r+b").close()
        elif path.is_char_device():
            with path.open("wb", buffering=0) as device:
                device.write(b" ")
        elif not path.exists():
            with TemporaryFile(dir=path.parent, buffering=0) as trial:
                trial.write(b" ")


def check_folder_free(folder: Path, pattern: str, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work, a folder that has files like those to be written, or that is an input.

    Raises:
        SettingsError: the output must not be written there.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise SettingsError(f"output folder {folder} is a file; give the path of a folder")
    if any(_is_same(folder, source) for source in inputs):
        raise SettingsError(f"output folder {folder} is also an input; give another folder")
    if not overwrite and next(folder.glob(pattern), None) is not None:
        raise SettingsError(
            f"output folder {folder} has {pattern} files already; give another folder or allow "
            "overwriting (--overwrite, output.overwrite)"
        )


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, where missing.

    Raises:
        OutputError: it cannot be created.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's errors about an output into one line with what to do.

    FFmpeg's errors that come from a system call are `OSError`s too.

    Raises:
        OutputError: in place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error) or type(error).__name__
        raise OutputError(f"cannot write {path}: {what}; {_advice(error.errno)}") from error


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all bytes in one system call, or in more where the system takes only a part.

    Raises:
        OSError: the system took less than all of it, with its reason.
    """
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def append_whole(descriptor: int, record: bytes) -> None:
    """Append a record to a file in one system call, or in more; of one that failed nothing stays, where it is a file.

    Raises:
        OSError: the system took less than all of it, with its reason.
    """
    size = os.fstat(descriptor).st_size
    try:
        write_whole(descriptor, record)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _is_same(path: Path, other: Path) -> bool:
    """True if both exist and are the same file or folder, through whatever links."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def _advice(number: int | None) -> str:
    """Say what to do about a system error."""
    return _ADVICE.get(number, "check the path") if number is not None else "check the path"


#: What a user can do, by error number.
_ADVICE = {
    errno.ENOSPC: "free some space or write to another disk",
    errno.EDQUOT: "free some space in your quota or write to another disk",
    errno.EFBIG: "write to a file system without that limit on a file's size",
    errno.EACCES: "give a path you may write to",
    errno.EPERM: "give a path you may write to",
    errno.EROFS: "give a path you may write to",
    errno.EISDIR: "give the path of a file",
    errno.EPIPE: "keep the program that reads it running",
    errno.EIO: "check the disk",
    errno.EBADF: "open it, or write to a file",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}
