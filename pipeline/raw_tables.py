"""Raw tables, as TOML gives them, held against the types of the settings: unknown keys and values of a wrong kind."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from posestream.stages.errors import SettingsError
from posestream.stages.redact import told_value

__all__ = ["check_keys", "check_values", "keys_of"]

#: What is said of numbers.
_NUMBERS = {int: "a whole number", float: "a number"}


def check_keys(raw: object, annotation: Any, origin: str, path: str = "") -> None:
    """Refuse keys that nobody reads, before their values are looked at.

    Raises:
        SettingsError: there is one; the text names the nearest known one.
    """
    kind = _without_none(annotation)
    if get_origin(kind) is tuple and isinstance(raw, list | tuple):
        for number, value in enumerate(raw):
            check_keys(value, get_args(kind)[0], origin, f"{path}{number}.")
    known = keys_of(kind)
    if not known or not isinstance(raw, Mapping):
        return
    for key, value in raw.items():
        if key not in known:
            raise SettingsError(f"{origin}: unknown key {path}{key}{_nearest(key, known, path)}")
        check_keys(value, known[key], origin, f"{path}{key}.")


def check_values(raw: object, annotation: Any, origin: str, path: str = "") -> None:
    """Refuse values that would only be taken for what belongs there: 1 for true, "7" for 7, no path for a path.

    What is of another kind altogether is left to the tables themselves.

    Raises:
        SettingsError: there is one; the text says what belongs there.
    """
    kind = _bare(annotation)
    if isinstance(raw, Mapping):
        known = keys_of(kind)
        for key, value in raw.items():
            if key in known:
                check_values(value, known[key], origin, f"{path}{key}.")
    elif get_origin(kind) is tuple and isinstance(raw, list | tuple):
        for number, value in enumerate(raw):
            check_values(value, get_args(kind)[0], origin, f"{path}{number}.")
    elif complaint := _complaint(raw, kind):
        raise SettingsError(f"{origin}: {path[:-1]} = {told_value(path[:-1], raw)}: {complaint}")


def _complaint(value: object, kind: Any) -> str:
    """Say what belongs in a value's place; empty: nothing is wrong with it."""
    if kind is bool and isinstance(value, str | Real) and not isinstance(value, bool):
        return "input should be true or false"
    if kind in _NUMBERS and isinstance(value, str | bool):
        return f"input should be {_NUMBERS[kind]}"
    if kind in _NUMBERS and isinstance(value, Real) and not math.isfinite(value):
        return "input should be a finite number"
    if kind is Path and isinstance(value, str) and not value.strip():
        return "input should be a path, and is empty"
    return ""


def _without_none(annotation: Any) -> Any:
    """Give X for `X | None`."""
    arguments = [kind for kind in get_args(annotation) if kind is not type(None)]
    return arguments[0] if len(arguments) == 1 and type(None) in get_args(annotation) else annotation


def _bare(annotation: Any) -> Any:
    """Give a type without the bounds that are written beside it."""
    kind = _without_none(annotation)
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def keys_of(kind: Any) -> dict[str, Any]:
    """List a table's keys with their types; none for what is not a table."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return get_type_hints(kind)
    return {}


def _nearest(key: str, known: Iterable[str], path: str) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {path}{near[0]}?" if near else f"; known are: {', '.join(known)}"
