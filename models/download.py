"""Fetches one file from an address: resumable, checked, and never half there under its name."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import re
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from posestream.models.digest import matches, place
from posestream.models.errors import FetchError, ModelError
from posestream.models.spec import FileSpec

try:
    import fcntl
except ImportError:  # not on Windows; there nothing is resumed
    fcntl = None  # type: ignore[assignment]

__all__ = ["Progress", "Patience", "download", "ignore_progress"]

#: Called with the bytes that are there and the bytes in all, or None where the server does not tell.
Progress = Callable[[int, int | None], None]

_ADVICE = "check the network, or put the file into a folder that POSESTREAM_MODELS names"
#: Bytes read at a time.
_CHUNK = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download waits before it gives up."""

    #: For the name, the connection and the first answer together, in seconds.
    connect_s: float = 10.0
    #: For the next bytes, in seconds.
    read_s: float = 30.0
    #: How often a broken download goes on where it was, and the first wait before, in seconds; it doubles.
    retries: int = 3
    backoff_s: float = 0.5


def ignore_progress(done_bytes: int, total_bytes: int | None) -> None:
    """Take the progress of a download and do nothing."""


def download(
    file: FileSpec, folder: Path, progress: Progress = ignore_progress, patience: Patience | None = None
) -> Path:
    """Fetch a file into a folder, going on with what an earlier try left there.

    Raises:
        ModelError: the address is out of reach, the download broke off, or the file is not the recorded one.
    """
    target = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _part_of(target) as part:
            is_continued = part.tell() > 0
            _complete(file, part, progress, patience or Patience())
            if is_continued and not _is_right(part, file):
                part.truncate(0)
                part.seek(0)  # what an earlier try left does not fit any more
                _complete(file, part, progress, patience or Patience())
            part.flush()
            place(Path(part.name), target, file.digest, file.source)
    except OSError as error:
        raise ModelError(f"cannot write {target} ({error.strerror or error}): free space or choose another") from error
    return target


@contextlib.contextmanager
def _part_of(target: Path) -> Iterator[BinaryIO]:
    """Open the file that collects what comes, positioned at its end, for this process alone.

    The common `.part` file goes to the first process that locks it; another one gets a file of its own, which is
    deleted unless it was put in its place.
    """
    common = target.with_name(f"{target.name}.part")
    shared = common.open("ab")
    if _is_ours(shared, common):
        with shared:
            try:
                yield shared
            finally:
                shared.flush()
                if _is_ours(shared, common) and not os.fstat(shared.fileno()).st_size:
                    common.unlink()
        return
    shared.close()
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.", suffix=".part", delete=False) as own:
        try:
            yield own  # type: ignore[misc] # a wrapper that has all of BinaryIO's methods
        finally:
            Path(own.name).unlink(missing_ok=True)


def _is_ours(file: BinaryIO, path: Path) -> bool:
    """Lock the file; False if another process has it, or has just given it its final name."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _is_right(part: BinaryIO, file: FileSpec) -> bool:
    part.flush()
    return matches(Path(part.name), file.digest)


def _complete(file: FileSpec, part: BinaryIO, progress: Progress, patience: Patience) -> None:
    """Write what is missing to the part, going on after breaks within the budget."""
    wait_s = patience.backoff_s
    for is_last in [False] * patience.retries + [True]:
        if file.size_bytes is not None and part.tell() == file.size_bytes:
            return
        before = part.tell()
        try:
            if _receive(file, part, progress, patience):
                return
            cause = "the server closed the connection"
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                raise FetchError(f"cannot fetch {_whence(file)}: {_reason(error)}", _ADVICE) from error
        except (OSError, http.client.HTTPException) as error:
            if part.tell() == before:
                raise FetchError(f"cannot fetch {_whence(file)}: {_reason(error)}", _ADVICE) from error
            cause = _reason(error)
        if is_last:
            break
        time.sleep(wait_s)
        wait_s *= 2
    reason = f"{_whence(file)} broke off after {part.tell() / 1e6:.1f} MB ({cause})"
    raise FetchError(reason, "run it again, it goes on from there")


def _receive(file: FileSpec, part: BinaryIO, progress: Progress, patience: Patience) -> bool:
    """Ask once for what is missing and write what comes; True if the file is complete, as far as one can tell."""
    with _open(file.source, part.tell(), patience) as response:
        total = _start(response, part, file)
        progress(part.tell(), total)
        while chunk := response.read1(_CHUNK):
            part.write(chunk)
            progress(part.tell(), total)
            if file.size_bytes is not None and part.tell() > file.size_bytes:
                return True  # too long: the digest will tell
    return total is None or part.tell() >= total


def _start(response: Any, part: BinaryIO, file: FileSpec) -> int | None:
    """Set the part to where the response begins and give the size of the whole file, if it is known."""
    span = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range") or "")
    if response.status == http.HTTPStatus.PARTIAL_CONTENT and span and int(span[1]) == part.tell():
        return file.size_bytes if span[2] == "*" else int(span[2])
    part.truncate(0)
    part.seek(0)
    length = response.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else file.size_bytes


def _open(url: str, start: int, patience: Patience) -> Any:
    """Ask for a file from a byte on. A part that the server does not want to go on with is asked for from its start."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ModelError(f"cannot fetch {url}: only http and https addresses are fetched")
    request = urllib.request.Request(url, headers={"User-Agent": "posestream"})  # noqa: S310 # checked above
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return _open_in_time(request, patience)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        error.close()
        return _open(url, 0, patience)


def _open_in_time(request: urllib.request.Request, patience: Patience) -> Any:
    """Open an address within `connect_s`, looking up its name included, which no socket timeout limits."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    is_late = threading.Event()

    def ask() -> None:
        try:
            response = urllib.request.urlopen(request, timeout=patience.read_s)  # noqa: S310 # http and https only
        except Exception as error:  # noqa: BLE001 # handed to the caller as it is
            answers.put(error)
            return
        answers.put(response)
        if is_late.is_set():
            response.close()

    threading.Thread(target=ask, name="download", daemon=True).start()
    try:
        answer = answers.get(timeout=patience.connect_s)
    except queue.Empty:
        is_late.set()
        raise TimeoutError(f"no answer within {patience.connect_s:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _whence(file: FileSpec) -> str:
    return f"{file.name} from {urlsplit(file.source).hostname}"


def _reason(error: Exception) -> str:
    """Give a network error in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__
