"""Settings before they are checked: a TOML file's tables, what a command line says, and one laid over the other."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from posestream.stages.errors import SettingsError

__all__ = ["Raw", "load_toml", "merged", "parse_assignment"]

Raw = dict[str, Any]


def load_toml(path: Path) -> Raw:
    """Read a settings file.

    Raises:
        SettingsError: it is not there, not readable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not TOML: {error}") from error


def parse_assignment(text: str) -> Raw:
    """Turn `table.key=value` into nested tables; the value is TOML, or a plain string where it is not.

    Raises:
        SettingsError: there is no `=`, or no key before it.
    """
    path, equals, value_text = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise SettingsError(f"--set {text}: write it as table.key=value")
    try:
        value = tomllib.loads(f"value = {value_text}")["value"]
    except tomllib.TOMLDecodeError:
        value = value_text.strip()
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def merged(base: Raw, over: Raw) -> Raw:
    """Lay one tree of tables over another; a list's tables are addressed by number, as in `source.0.name`."""
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            result[key] = merged(known, value)
        elif isinstance(value, dict) and isinstance(known, list | tuple):
            result[key] = _merged_list(list(known), value, key)
        else:
            result[key] = value
    return result


def _merged_list(base: list[Any], over: Raw, name: str) -> list[Any]:
    for number, value in over.items():
        if number.isidentifier():
            raise SettingsError(f"{name} is a list, counted from 0: write {name}.0.{number}")
        if not number.isdecimal() or int(number) >= len(base):
            raise SettingsError(f"{name}.{number}: there are {len(base)} of {name}, counted from 0")
        if isinstance(base[int(number)], dict) and not isinstance(value, dict):
            raise SettingsError(f"{name}.{number} is a table: give {name}.{number}.KEY")
        # As a table of its own, so that what is no table (`replicas.devices.0`) is laid over like any other value.
        base[int(number)] = merged({name: base[int(number)]}, {name: value})[name]
    return base
