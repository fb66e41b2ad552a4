"""Imports OpenVINO without its model converter, which reports its import to a statistics server."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

from posestream.models.errors import EngineError

__all__ = ["brief", "load_openvino"]

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
    with _lock:
        is_hidden = "openvino" not in sys.modules and _CONVERTER not in sys.modules
        if is_hidden:
            sys.modules[_CONVERTER] = None  # type: ignore[assignment] # the import system's way to say "absent"
        try:
            return importlib.import_module("openvino")
        except ImportError as error:
            raise EngineError(f"OpenVINO cannot be loaded ({brief(error)}): pip install openvino") from error
        finally:
            if is_hidden:
                del sys.modules[_CONVERTER]


def brief(error: BaseException) -> str:
    """Give what an error says in one line, without the lines that only name places in somebody's source code."""
    text = str(getattr(error, "err", "") or error)  # OpenCV keeps the telling part in `err`
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Exception from ", "Caught exception: "))]
    text = "; ".join(telling) or type(error).__name__
    return text if len(text) <= _BRIEF_LENGTH else f"{text[:_BRIEF_LENGTH]}…"
