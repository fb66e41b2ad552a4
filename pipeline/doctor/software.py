"""Python and the packages that posestream uses, those of its extras too."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata

from posestream.pipeline.doctor.finding import Finding, State

__all__ = ["look_at_software"]

_SECTION = "software"
#: The oldest Python that will do.
_PYTHON = (3, 11)
#: What reads the name out of a requirement such as `onnx>=1.17; extra == "import"`.
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?[^;]*(?:;.*extra == ['\"]([A-Za-z0-9._-]+)['\"])?")
#: The package, and extras for those who develop it.
_PACKAGE, _DEVELOPERS = "posestream", ("test",)

#: Packages that hold the same as another one: OpenCV's without windows, and with more modules.
_INSTEAD = {"opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")}


def look_at_software() -> list[Finding]:
    """Give Python, each package that must be there, and each extra."""
    version = platform.python_version()
    is_new = sys.version_info >= _PYTHON
    python = Finding(
        _SECTION,
        "python",
        State.OK if is_new else State.ERROR,
        f"{version} on {platform.platform(terse=True)}",
        "" if is_new else f"install Python {_PYTHON[0]}.{_PYTHON[1]} or newer",
    )
    needed, extras = _requirements()
    packages = [_package(name) for name in needed]
    return [python, *packages, *(_extra(extra, names) for extra, names in extras.items())]


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Give the packages that are always needed, and those of each extra."""
    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    # A checkout that is installed in place has two records of itself, one of which may be older.
    records = metadata.distributions(name=_PACKAGE)
    for text in dict.fromkeys(text for record in records for text in record.requires or []):
        found = _REQUIREMENT.match(text)
        if found is None or found[2] in _DEVELOPERS:
            continue
        (needed if found[2] is None else extras.setdefault(found[2], [])).append(found[1])
    return needed, extras


def _package(name: str) -> Finding:
    version = _version(name)
    for other in _INSTEAD.get(name, ()) if version is None else ():
        if (others := _version(other)) is not None:
            version = f"{others} ({other})"
    if version is None:
        return Finding(_SECTION, name, State.ERROR, "is not installed", f"pip install {name}")
    return Finding(_SECTION, name, State.OK, version)


def _extra(extra: str, names: list[str]) -> Finding:
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    if missing:
        text = f"without {', '.join(missing)}" + (f"; there is {told}" if told else "")
        return Finding(_SECTION, f"[{extra}]", State.ABSENT, text, f"pip install 'posestream[{extra}]'")
    return Finding(_SECTION, f"[{extra}]", State.OK, told)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
