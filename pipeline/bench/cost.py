"""What this process and its children have cost by now; Linux only, but for this process alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["children_of", "cpu_s", "process_cpu_s", "resident_mb"]

#: Where the system tells of processes; Linux only.
_PROC = Path("/proc")
#: Places in a process's `stat` behind its name: its parent, and its CPU time in user and kernel mode.
_PARENT, _USER, _SYSTEM = 1, 11, 12


def cpu_s(children: Sequence[int]) -> float:
    """Give the CPU time of this process and of these children, in seconds."""
    return time.process_time() + sum(process_cpu_s(pid) for pid in children)


def process_cpu_s(pid: int) -> float:
    """Give the CPU time of a process, in seconds (of 10 ms each); 0 if there is none."""
    values = _stat(pid)
    return (int(values[_USER]) + int(values[_SYSTEM])) / os.sysconf("SC_CLK_TCK") if values else 0.0


def resident_mb(pid: int | None = None) -> float:
    """Give the memory of a process (this one without a number) that lies in RAM, in MB."""
    pages = int((_PROC / ("self" if pid is None else str(pid)) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children_of(pid: int) -> list[int]:
    """List the processes that a process started and that live."""
    pids = [int(path.name) for path in _PROC.iterdir() if path.name.isdecimal()] if _PROC.is_dir() else []
    return sorted(child for child in pids if (values := _stat(child)) and int(values[_PARENT]) == pid)


def _stat(pid: int) -> list[str]:
    """Give what stands behind a process's name in its `stat`, the name's own blanks left out."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
