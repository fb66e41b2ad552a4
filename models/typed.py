"""Tables, as TOML gives them, made into records whose every value is of its field's type."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

__all__ = ["typed"]

RecordT = TypeVar("RecordT")

#: What people call the types of values.
_NAMES = {str: "a text", bool: "true or false", int: "a whole number", float: "a finite number"}


def typed(record: type[RecordT], table: Mapping[str, Any], place: str = "") -> RecordT:
    """Make a record of a table.

    Args:
        record: a dataclass; its fields may be texts, numbers, booleans, enumerations of texts, records, or tuples of
            one of these.
        table: its values by the fields' names; those with a default may be left out.
        place: where the table stands, such as `input.`, before each key that is told.

    Raises:
        ValueError: a key is missing or unknown, or a value is of another type; the text names the key.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"{place.rstrip('.')} is {table!r} instead of a table")
    fields = dataclasses.fields(record)  # type: ignore[arg-type] # it is a dataclass
    if unknown := ", ".join(f"{place}{key}" for key in table if key not in {field.name for field in fields}):
        raise ValueError(f"unknown keys: {unknown}")
    hints = typing.get_type_hints(record)
    values = {}
    for field in fields:
        if field.name in table:
            values[field.name] = _value(hints[field.name], table[field.name], f"{place}{field.name}")
        elif field.default is dataclasses.MISSING:
            raise ValueError(f"'{place}{field.name}' is missing")
    return record(**values)


def _value(kind: Any, value: Any, key: str) -> Any:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{key} is {value!r} instead of a list")
        return tuple(_value(typing.get_args(kind)[0], each, f"{key}[{number}]") for number, each in enumerate(value))
    if isinstance(kind, types.UnionType):
        (kind,) = (each for each in typing.get_args(kind) if each is not types.NoneType)  # TOML has no null
    if dataclasses.is_dataclass(kind):
        return typed(typing.cast(type[Any], kind), value, f"{key}.")
    if issubclass(kind, StrEnum):
        if value not in list(kind):
            raise ValueError(f"{key} is {value!r} instead of one of {', '.join(kind)}")
        return kind(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):  # True is an int, and no number here
        raise ValueError(f"{key} is {value!r} instead of {_NAMES[kind]}")
    return value
