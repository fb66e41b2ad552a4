"""OpenVINO for this process: imported without its converter, which reports to a statistics server; one core for all."""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from typing import Any

from posestream.models.errors import EngineError

__all__ = ["brief", "import_without", "load_core", "load_openvino"]

#: Imported at the end of `import openvino`; it forks a process that sends usage data. Nothing here converts models.
_CONVERTER = "openvino.tools.ovc"
#: Longest third-party text in a message, in characters.
_BRIEF_LENGTH = 240

_lock = threading.Lock()


def load_openvino() -> Any:
    """Give the module `openvino`, imported on first use with its converter hidden: nothing is sent anywhere.

    Raises:
        EngineError: OpenVINO is not installed, or cannot be loaded on this machine.
    """
    try:
        return import_without("openvino", _CONVERTER)
    except ImportError as error:
        raise EngineError(f"OpenVINO cannot be loaded ({brief(error)}): pip install openvino") from error


def import_without(name: str, hidden: str) -> Any:
    """Import a module as if another one that it imports were not installed; of no effect once it was imported.

    Raises:
        ImportError: it cannot be imported.
    """
    with _lock:
        if name in sys.modules:
            return importlib.import_module(name)
        known = sys.modules.get(hidden)
        sys.modules[hidden] = None  # type: ignore[assignment] # the import system's way to say "absent"
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules[hidden]
            if known is not None:
                sys.modules[hidden] = known


@functools.cache
def load_core() -> Any:
    """Give the one core of this process, which stays to its end.

    A core's plugin for processors gives the thread that first asks for it a stack for signals (`sigaltstack`), and
    takes that memory back when the core is freed, by whichever thread: then the next signal ends the process with
    SIGSEGV. Found with OpenVINO 2026.4.

    Raises:
        EngineError: OpenVINO is not installed, or cannot be loaded on this machine.
    """
    return load_openvino().Core()


def brief(error: BaseException) -> str:
    """Give what an error says in one line, without the lines that only name places in somebody's source code."""
    text = str(getattr(error, "err", "") or error)  # OpenCV keeps the telling part in `err`
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Exception from ", "Caught exception: "))]
    text = "; ".join(telling) or type(error).__name__
    return text if len(text) <= _BRIEF_LENGTH else f"{text[:_BRIEF_LENGTH]}…"
