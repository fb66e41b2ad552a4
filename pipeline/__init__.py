"""The running pipeline: settings, sockets, dispatcher, lanes, replicas and their supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posestream.pipeline.api import run as run
    from posestream.pipeline.client.order import Gap as Gap
    from posestream.pipeline.client.subscribe import subscribe as subscribe
    from posestream.pipeline.client.subscribe import subscribe_async as subscribe_async
    from posestream.pipeline.result import FoundPerson as FoundPerson
    from posestream.pipeline.result import PosesResult as PosesResult

__all__ = [
    # running it
    "run",
    # listening to one
    "Gap",
    "subscribe",
    "subscribe_async",
    # what it gives
    "FoundPerson",
    "PosesResult",
]

_HOMES = {
    "run": "api",
    "Gap": "client.order",
    "subscribe": "client.subscribe",
    "subscribe_async": "client.subscribe",
    "FoundPerson": "result",
    "PosesResult": "result",
}


def __getattr__(name: str) -> object:
    """Import on first use, so that whoever needs only the results' types loads no engine."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as late as the import it makes

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
