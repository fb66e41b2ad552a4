"""Hosts as addresses name them."""

from __future__ import annotations

import pytest

from posestream.pipeline.security.guard import UNGUARDED
from posestream.pipeline.security.hosts import covers, ipv6_error, is_ipv6
from posestream.pipeline.wire.sockets import ZmqContext
from posestream.stages.errors import SettingsError


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("::1", r"write an IPv6 address in brackets: [::1]"),
        ("[::g]", "[::g] is no IPv6 address"),
        ("[127.0.0.1]", "[127.0.0.1] is no IPv6 address"),
        ("[::1", "write an IPv6 address in brackets: [::1]"),
        ("[::1]", None),
        ("[fe80::1%eth0]", None),
        ("127.0.0.1", None),
        ("head", None),
        ("*", None),
    ],
)
def test_a_host_that_only_looks_like_ipv6_is_told(host: str, told: str | None) -> None:
    """What is to be written is said; whatever else a host may be is ZeroMQ's business."""
    assert ipv6_error(host) == told


@pytest.mark.parametrize(
    ("host", "other", "expected"),
    [
        ("*", "127.0.0.1", True),
        ("0.0.0.0", "10.0.0.1", True),  # noqa: S104 - compared, not listened on
        ("*", "[::1]", False),
        ("[::]", "[::1]", True),
        ("[::]", "127.0.0.1", True),
        ("[::1]", "[0:0:0:0:0:0:0:1]", True),
        ("[::1]", "127.0.0.1", False),
        ("127.0.0.1", "*", False),
        ("head", "head", True),
        ("head", "10.0.0.1", False),
    ],
)
def test_who_listens_at_one_host_listens_at_those_that_it_covers(host: str, other: str, *, expected: bool) -> None:
    """`*` is every IPv4 address, as in ZeroMQ; `[::]` is every one of both kinds."""
    assert covers(host, other) is expected


def test_ipv6_is_spoken_where_an_address_is_written_so() -> None:
    """Names and `*` stay IPv4."""
    assert is_ipv6("tcp://[::1]:5556")
    assert is_ipv6("tcp://[::2]:0;[::1]:5556")
    assert not any(is_ipv6(address) for address in ("tcp://*:5556", "tcp://head:5556", "ipc:///run/[me]/x"))


def test_a_client_is_told_of_a_wrong_address_at_once(context: ZmqContext) -> None:
    """ZeroMQ would look for such a host for ever."""
    with pytest.raises(SettingsError, match=r"tcp://\[::g\]:5556: \[::g\] is no IPv6 address"):
        UNGUARDED.apply(context, "tcp://[::g]:5556")
