"""The addresses that a run listens on: what is none, or is wanted twice, is told before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from posestream.pipeline.security.hosts import covers, ipv6_error
from posestream.pipeline.settings import Settings
from posestream.stages.errors import SettingsError

__all__ = ["LOCAL", "ListenAddress", "check_listen_addresses", "listen_addresses"]

#: In place of a control address: the socket in the run's own folder, which is there anyway.
LOCAL = "local"

_MOST_PORT = 65535
#: Ports that the system chooses.
_OPEN_PORTS = ("*", "0")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address and where it comes from."""

    #: The setting, such as "publish.addresses".
    key: str
    address: str
    #: The address of publishing that it follows from by default; empty for one that was given.
    derived_from: str = ""

    @property
    def told(self) -> str:
        """The setting, in words that tell of its default."""
        derived = f" (by default what belongs to {self.derived_from})" if self.derived_from else ""
        return f"{self.key}{derived}"


def listen_addresses(settings: Settings) -> list[ListenAddress]:
    """List every address that a run listens on, but for those in its own folder."""
    table, publish = settings.pipeline, settings.publish
    given = {
        "pipeline.listen": table.listen,
        "pipeline.status": table.status,
        "pipeline.control": [address for address in table.control if address != LOCAL],
        "publish.addresses": publish.addresses,
        "publish.replay": publish.replay,
    }
    derived = () if publish.replay else zip(publish.replay_addresses, publish.addresses, strict=True)
    return [
        *(ListenAddress(key, address) for key, addresses in given.items() for address in addresses),
        *(ListenAddress("publish.replay", address, origin) for address, origin in derived),
    ]


def check_listen_addresses(addresses: Sequence[ListenAddress]) -> None:
    """Refuse addresses that nobody can listen on, and those that are listened on already by another setting.

    Raises:
        SettingsError: there is one.
    """
    for one in addresses:
        _check(one)
    for first, second in combinations(addresses, 2):
        if _is_same(first.address, second.address):
            raise SettingsError(
                f"{second.address} is wanted twice, by {first.told} and by {second.told}: {_advice((first, second))}"
            )


def _check(one: ListenAddress) -> None:
    scheme, _, rest = one.address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme == "ipc" and rest:
        return
    if scheme != "tcp" or not host:
        raise SettingsError(f"{one.told} {one.address}: write tcp://HOST:PORT or ipc://PATH")
    if (error := ipv6_error(host)) is not None:
        raise SettingsError(f"{one.told} {one.address}: {error}")
    if port not in _OPEN_PORTS and not (port.isascii() and port.isdecimal() and int(port) <= _MOST_PORT):
        raise SettingsError(
            f"{one.told} {one.address}: a port is a number up to {_MOST_PORT}, or * for one that is free; "
            f"{_advice((one,))}"
        )


def _advice(addresses: Iterable[ListenAddress]) -> str:
    is_derived = any(one.derived_from for one in addresses)
    return "give publish.replay, where subscribers ask for what they missed" if is_derived else "give another one"


def _is_same(first: str, second: str) -> bool:
    """True if nobody can listen on both."""
    scheme, _, rest = first.partition("://")
    other_scheme, _, other = second.partition("://")
    if scheme != other_scheme:
        return False
    if scheme != "tcp":
        return rest == other != "*"
    host, _, port = rest.rpartition(":")
    other_host, _, other_port = other.rpartition(":")
    if port in _OPEN_PORTS or other_port in _OPEN_PORTS or int(port) != int(other_port):
        return False
    return covers(host, other_host) or covers(other_host, host)
