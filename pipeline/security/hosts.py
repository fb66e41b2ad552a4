"""Hosts as addresses name them: which are of IPv6, which only this machine reaches, and which cover which."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["covers", "host_of", "ip_of", "ipv6_error", "is_ipv6"]

#: In place of a host: every IPv4 address of this machine.
_EVERY_IPV4 = "*"


def host_of(address: str) -> str:
    """Give the host of a TCP address, an IPv6 one in its brackets; an own address may stand before it, with a `;`."""
    return address.removeprefix("tcp://").rpartition(";")[2].rpartition(":")[0]


def is_ipv6(address: str) -> bool:
    """True for a TCP address of IPv6; names and `*` mean IPv4, as everywhere in ZeroMQ."""
    return address.startswith("tcp://") and host_of(address).startswith("[")


def ip_of(host: str) -> IPv4Address | IPv6Address | None:
    """Give a host's IP address; None for a name."""
    try:
        return ip_address("0.0.0.0" if host == _EVERY_IPV4 else host.removeprefix("[").removesuffix("]"))  # noqa: S104
    except ValueError:
        return None


def ipv6_error(host: str) -> str | None:
    """Tell what is wrong with a host that looks like an IPv6 address; None if nothing is."""
    if ":" not in host and not host.startswith("["):
        return None
    bare = host.removeprefix("[").removesuffix("]")
    if not isinstance(ip_of(host), IPv6Address):
        return f"{host} is no IPv6 address"
    return None if host == f"[{bare}]" else f"write an IPv6 address in brackets: [{bare}]"


def covers(host: str, other: str) -> bool:
    """True if who listens at one host listens at the other too."""
    found, covered = ip_of(host), ip_of(other)
    if found is None:
        return host == other
    if isinstance(found, IPv6Address) and found.is_unspecified:
        return True  # IPv4 comes there too
    return found == covered or (found.is_unspecified and not isinstance(covered, IPv6Address))
