"""The topics that a publisher sends on, and where it can be asked for what was missed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["STATUS", "absolute_address", "layout_topic", "poses_topic", "replay_address", "source_status_topic"]

#: The status of the whole.
STATUS = "status/"


def poses_topic(source: str) -> str:
    """Give the topic of a source's messages; it ends with a slash, so that no prefix matches a neighbour."""
    return f"poses/{source}/"


def source_status_topic(source: str) -> str:
    """Give the topic of a source's status."""
    return f"status/{source}/"


def layout_topic(name: str) -> str:
    """Give the topic of a layout: what the keypoints mean."""
    return f"layout/{name}/"


def replay_address(address: str) -> str:
    """Give the address for requests that belongs to one of publishing: the next port, or a file beside.

    A port that the system chooses (`*`) has another one that it chooses; subscribers are told which.
    """
    scheme, _, rest = address.partition("://")
    if scheme != "tcp":
        return f"{address}.replay"
    host, _, port = rest.rpartition(":")
    return f"tcp://{host}:{int(port) + 1}" if port.isdecimal() else address


def absolute_address(address: str) -> str:
    """Give an address that means the same in every folder: a file's path is made absolute."""
    scheme, _, rest = address.partition("://")
    return f"ipc://{Path(rest).absolute()}" if scheme == "ipc" and not rest.startswith("@") else address
