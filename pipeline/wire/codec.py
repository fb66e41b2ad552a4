"""Records to msgpack's plain values and back, every value checked against its field's type."""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import Le

from posestream.pipeline.errors import DecodeError

__all__ = ["Check", "Pack", "record_check", "record_pack"]

#: Checks a value that came off the wire and gives it as its field's type; raises DecodeError.
Check = Callable[[Any], Any]
#: Gives a record's fields as msgpack takes them.
Pack = Callable[[Any], tuple[Any, ...]]


def _check_of(annotation: Any) -> Check:
    """Make the check of one field's type."""
    if typing.get_origin(annotation) is Annotated:
        inner, bound = typing.get_args(annotation)
        return _bounded_check(_check_of(inner), bound)
    if annotation in _SIMPLE:
        return _simple_check(_SIMPLE[annotation], annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is types.UnionType and len(arguments) == 2 and arguments[1] is type(None):
        return _optional_check(_check_of(arguments[0]))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple_check(_check_of(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _enum_check(annotation)
    if is_dataclass(annotation):
        return record_check(typing.cast(type, annotation))
    raise TypeError(f"the wire cannot carry {annotation}")


#: The Python types that a plain field may have on the wire; True is not an int here.
_SIMPLE: dict[Any, tuple[type, ...]] = {int: (int,), float: (float, int), str: (str,), bool: (bool,)}


def _simple_check(allowed: tuple[type, ...], annotation: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) not in allowed:
            raise DecodeError(f"{type(value).__name__} where {annotation.__name__} belongs")
        # Whatever is counted or numbered here begins at 0: a negative credit would take room from all others.
        if annotation is int and not 0 <= value < (1 << 62):
            raise DecodeError("a number out of range")
        if annotation is float and not (math.isfinite(value) and value >= 0):
            # One NaN among times would make every comparison with it false; times, scales and the like begin at 0.
            raise DecodeError("a number that is not finite, or is below 0")
        return float(value) if annotation is float else value

    return check


def _bounded_check(inner: Check, bound: Le) -> Check:
    """Refuse what is more than a field's upper bound."""

    def check(value: Any) -> Any:
        checked = inner(value)
        if checked > bound.le:
            raise DecodeError("a number out of range")
        return checked

    return check


def _optional_check(inner: Check) -> Check:
    return lambda value: None if value is None else inner(value)


def _tuple_check(inner: Check) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, tuple):
            raise DecodeError(f"{type(value).__name__} where a list belongs")
        return tuple(inner(item) for item in value)

    return check


def _enum_check(kind: type[StrEnum]) -> Check:
    def check(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError as error:
            raise DecodeError(f"unknown {kind.__name__.lower()} {str(value)[:40]!r}") from error

    return check


def record_check(kind: type) -> Check:
    """Make the function that turns a tuple of wire values into a record, or raises DecodeError."""
    hints = typing.get_type_hints(kind, include_extras=True)
    checks = tuple(_check_of(hints[field.name]) for field in fields(kind))

    def check(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(checks):
            raise DecodeError(f"{kind.__name__} has {len(checks)} fields")
        return kind(*[inner(item) for inner, item in zip(checks, value, strict=True)])

    return check


def record_pack(kind: type) -> Pack:
    """Make the function that gives a record's fields as msgpack takes them (records become lists)."""
    names = tuple(field.name for field in fields(kind))
    hints = typing.get_type_hints(kind)
    records = {name: record_pack(hints[name]) for name in names if is_dataclass(hints[name])}
    for name in names:
        item = typing.get_args(hints[name])[:1]
        if typing.get_origin(hints[name]) is tuple and is_dataclass(item[0]):
            records[name] = _tuple_pack(record_pack(typing.cast(type, item[0])))
    if not records:
        return (
            operator.attrgetter(*names) if len(names) > 1 else lambda record: tuple(getattr(record, n) for n in names)
        )
    plain = [(name, records.get(name)) for name in names]
    return lambda record: tuple(
        getattr(record, name) if pack is None else pack(getattr(record, name)) for name, pack in plain
    )


def _tuple_pack(pack: Pack) -> Pack:
    return lambda records: tuple(pack(record) for record in records)
