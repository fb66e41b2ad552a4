"""What is said where a package that every command needs cannot be loaded: which one, and what to install."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata

from posestream.pipeline.doctor.finding import Finding, State
from posestream.pipeline.doctor.software import look_at_software
from posestream.pipeline.errors import ExitCode

__all__ = ["tell_broken"]


def tell_broken(error: ImportError, words: Sequence[str]) -> int:
    """Say what cannot be loaded; to `doctor`, all that is known of the packages. Give the exit code."""
    found = look_at_software()
    missing = [finding for finding in found if finding.state is State.ERROR] or [_unloadable(error)]
    if "--debug" in words:
        traceback.print_exception(error)
    if "doctor" in words:
        _tell_all([*found, *(finding for finding in missing if finding not in found)], is_json="--json" in words)
    else:
        told = "; ".join(f"{finding.name} {finding.text}: {finding.advice}" for finding in missing)
        sys.stderr.write(f"posestream: error: {told} (posestream doctor tells more)\n")
    return int(ExitCode.ENGINE)


def _unloadable(error: ImportError) -> Finding:
    """Tell of a package that is installed and cannot be loaded, for want of a library of the system's above all."""
    module = (error.name or "").partition(".")[0] or _module_of(error)
    package = metadata.packages_distributions().get(module, [module])[0]
    advice = f"install the library that it names, or pip install --force-reinstall {package}"
    if module == "cv2":
        advice = (
            "install the library that it names (Debian: apt install libgl1 libglib2.0-0), or opencv-python-headless "
            "in the place of opencv-python, which opens no windows"
        )
    text = f"cannot be loaded: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return Finding("software", package, State.ERROR, text, advice)


def _module_of(error: ImportError) -> str:
    """Give the first module of somebody else's that was being loaded; the system's loader does not tell its name."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames]
    return next((name for name in names if name not in ("posestream", "importlib", "_frozen_importlib", "")), "")


def _tell_all(findings: Sequence[Finding], is_json: bool) -> None:
    """Write what was found to standard output, a line each, by nothing that might be missing itself."""
    if is_json:
        told = [finding.to_json() for finding in findings]
        sys.stdout.write(json.dumps({"usable": False, "grouping": None, "findings": told}) + "\n")
        return
    for finding in findings:
        words = (f"{finding.state:8}", finding.name, finding.text, finding.advice and f"→ {finding.advice}")
        sys.stdout.write("  ".join(word for word in words if word) + "\n")
    sys.stdout.write("The rest is looked at when these are mended.\n")
