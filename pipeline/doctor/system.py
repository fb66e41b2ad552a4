"""What the system gives: folders, sockets, shared memory, open files and a clock."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import tempfile
import time
from pathlib import Path

import zmq

from posestream.models.cache import CACHE_VARIABLE, cache_folder
from posestream.pipeline.doctor.finding import Finding, State
from posestream.pipeline.supervision.run_folder import RunFolder

__all__ = ["look_at_system"]

_SECTION = "system"
#: Room that networks, samples and compiled engines may take, in bytes.
_CACHE_ROOM = 1 << 30
#: Longest path of a Unix socket where the library does not tell it.
_UNIX_PATH_BYTES = 107
#: A socket's own name within a run's folder has about so many bytes.
_SOCKET_NAME_BYTES = 24
#: Room in /dev/shm below which other programs' shared memory is short, in bytes.
_SHM_ROOM = 64 << 20
#: Open files that a run with dozens of sources needs.
_FILES = 1024
#: Ports that the configurations name.
_PORTS = (5555, 5556, 5557)
#: The clock must have finer steps than this, in seconds.
_CLOCK_STEP_S = 1e-4
#: A wall clock before this stands still or was never set: 2025 began, in seconds since 1970.
_WALL_CLOCK_S = 1_735_689_600


def look_at_system() -> list[Finding]:
    """Give the cache, ipc's limits, shared memory, open files, ports and the clocks."""
    return [_cache(), _ipc(), _shared_memory(), _files(), _ports(), _clock()]


def _cache() -> Finding:
    folder = cache_folder("")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = f"name a folder that you can write to in {CACHE_VARIABLE}"
        return Finding(_SECTION, "cache", State.ERROR, f"{folder}: {error.strerror or error}", advice)
    is_roomy = free >= _CACHE_ROOM
    return Finding(
        _SECTION,
        "cache",
        State.OK if is_roomy else State.WARNING,
        f"{folder}, {free / 1e9:.1f} GB free",
        "" if is_roomy else "free some space: networks and compiled engines need up to 1 GB",
        {"folder": str(folder), "free_bytes": free},
    )


def _ipc() -> Finding:
    limit = int(getattr(zmq, "IPC_PATH_MAX_LEN", _UNIX_PATH_BYTES))
    try:
        folder = RunFolder()
    except OSError as error:
        return Finding(_SECTION, "ipc", State.ERROR, f"no folder for sockets: {error}", "set TMPDIR to a folder")
    try:
        used = len(os.fsencode(folder.path)) + 1 + _SOCKET_NAME_BYTES
    finally:
        folder.remove()
    is_short = used <= limit
    return Finding(
        _SECTION,
        "ipc",
        State.OK if is_short else State.ERROR,
        f"paths of sockets take about {used} of {limit} bytes",
        "" if is_short else "set TMPDIR to a folder with a shorter path",
        {"used_bytes": used, "limit_bytes": limit},
    )


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")  # noqa: S108 - it is only looked at
    if not folder.is_dir():
        return Finding(_SECTION, "shared memory", State.ABSENT, "there is no /dev/shm; posestream does not need it")
    free = shutil.disk_usage(folder).free
    is_roomy = free >= _SHM_ROOM
    advice = "" if is_roomy else "in a container, start it with --shm-size=256m: GPU libraries use it"
    state = State.OK if is_roomy else State.WARNING
    return Finding(_SECTION, "shared memory", state, f"{free / 1e6:.0f} MB free", advice, {"free_bytes": free})


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough = soft == resource.RLIM_INFINITY or soft >= _FILES
    advice = "" if is_enough else f"ulimit -n {_FILES} before a run of many sources"
    state = State.OK if is_enough else State.WARNING
    return Finding(_SECTION, "open files", state, f"{soft} of {hard}", advice, {"soft": soft, "hard": hard})


def _ports() -> Finding:
    taken = [port for port in _PORTS if not _is_free(port)]
    numbers = ", ".join(map(str, _PORTS))
    if taken:
        text = f"{', '.join(map(str, taken))} of {numbers} are taken"
        advice = "another run may be listening there: name other ports in --listen and pipeline.status"
        return Finding(_SECTION, "ports", State.WARNING, text, advice, {"taken": taken})
    return Finding(_SECTION, "ports", State.OK, f"{numbers} are free", data={"taken": []})


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _clock() -> Finding:
    step_s = time.get_clock_info("monotonic").resolution
    if step_s > _CLOCK_STEP_S:
        return Finding(_SECTION, "clock", State.WARNING, f"steps of {step_s * 1000:g} ms: latencies are that coarse")
    if time.time() < _WALL_CLOCK_S:
        told = time.strftime("%Y-%m-%d", time.gmtime())
        return Finding(_SECTION, "clock", State.WARNING, f"it says {told}", "set it: messages carry the time of day")
    return Finding(_SECTION, "clock", State.OK, f"steps of {step_s * 1e9:g} ns", data={"step_s": step_s})
