"""Where a client asks for what it missed: among the addresses that a publisher tells, the one for its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posestream.pipeline.publish.topics import absolute_address, replay_address

__all__ = ["replay_of"]


def replay_of(address: str, layout: Mapping[str, Any]) -> str | None:
    """Choose where to ask a publisher that is heard at an address, by what its layout says; None: nowhere.

    It is over the same transport. As many addresses of it for requests as for listening belong together in order; among
    others it is the one that belongs to the address by default, else the first. Over TCP it is at the host that is
    known to be reached, whatever that calls itself.
    """
    transport, _, rest = address.partition("://")
    offered, heard = (_of(transport, layout.get(key)) for key in ("replay", "addresses"))
    if not offered:
        return None
    if transport != "tcp":
        own = absolute_address(address)
        if own in heard and len(heard) == len(offered):
            return offered[heard.index(own)]
        return replay_address(own) if replay_address(own) in offered else offered[0]
    ports = [one.rpartition(":")[2] for one in offered]
    place = _place(rest, heard) if len(heard) == len(offered) else None
    own = ports[place] if place is not None else replay_address(address).rpartition(":")[2]
    return f"tcp://{rest.rpartition(':')[0]}:{own if own in ports else ports[0]}"


def _of(transport: str, told: object) -> list[str]:
    """Give those of a transport among what a publisher tells, which may be anything."""
    found = told if isinstance(told, list) else []
    return [one for one in found if isinstance(one, str) and one.startswith(f"{transport}://")]


def _place(listened: str, heard: list[str]) -> int | None:
    """Find a TCP address among those listened on: itself, else the first of its port; through a tunnel neither is."""
    port = listened.rpartition(":")[2]
    if f"tcp://{listened}" in heard:
        return heard.index(f"tcp://{listened}")
    return next((number for number, one in enumerate(heard) if one.rpartition(":")[2] == port), None)
