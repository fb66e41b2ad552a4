"""The addresses that a run listens on."""

from __future__ import annotations

from typing import Any

import pytest

from posestream.pipeline.addresses import check_listen_addresses, listen_addresses
from posestream.pipeline.settings import Settings
from posestream.stages.errors import SettingsError


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"publish": {"addresses": ["tcp://127.0.0.1:99999"]}}, "publish.addresses tcp://127.0.0.1:99999: a port is"),
        ({"publish": {"addresses": ["tcp://127.0.0.1:-1"]}}, "publish.addresses tcp://127.0.0.1:-1: a port is"),
        ({"publish": {"addresses": ["tcp://127.0.0.1"]}}, "publish.addresses tcp://127.0.0.1: write tcp://HOST:PORT"),
        ({"publish": {"addresses": ["udp://127.0.0.1:1"]}}, "write tcp://HOST:PORT or ipc://PATH"),
        ({"pipeline": {"listen": ["tcp://127.0.0.1:x"]}}, "pipeline.listen tcp://127.0.0.1:x: a port is"),
        ({"pipeline": {"control": ["ipc://"]}}, "pipeline.control ipc://: write"),
        (
            {"publish": {"addresses": ["tcp://127.0.0.1:65535"]}},
            "belongs to tcp://127.0.0.1:65535.*give publish.replay",
        ),
        (
            {"publish": {"addresses": ["tcp://127.0.0.1:5556", "tcp://*:5557"]}},
            r"publish.replay \(by default what belongs to tcp://127.0.0.1:5556\): give publish.replay",
        ),
        (
            {"publish": {"addresses": ["tcp://127.0.0.1:5556"]}, "pipeline": {"status": ["tcp://127.0.0.1:5557"]}},
            ":5557 is wanted twice, by pipeline.status and by publish.replay .*:5556.*give publish.replay",
        ),
        ({"pipeline": {"listen": ["tcp://::1:5555"]}}, r"write an IPv6 address in brackets: \[::1\]"),
        ({"publish": {"addresses": ["tcp://[::g]:5556"]}}, r"publish.addresses tcp://\[::g\]:5556: .* no IPv6 address"),
        (
            {"publish": {"addresses": ["tcp://[::]:5556"]}, "pipeline": {"status": ["tcp://127.0.0.1:5557"]}},
            ":5557 is wanted twice",
        ),
        (
            {"publish": {"addresses": ["ipc:///x/a", "ipc:///x/a"], "replay": ["ipc:///x/b"]}},
            "ipc:///x/a is wanted twice, by publish.addresses and by publish.addresses: give another one",
        ),
    ],
)
def test_what_cannot_be_listened_on_is_told_before_any_work(raw: dict[str, Any], told: str) -> None:
    """One line names the setting and the address, and, where an address follows from another, that one."""
    with pytest.raises(SettingsError, match=told):
        check_listen_addresses(listen_addresses(Settings.parse(raw)))


def test_addresses_that_do_not_clash_are_left_alone() -> None:
    """Hosts apart, ports apart, and ports that the system chooses are no clash."""
    raw = {
        "publish": {
            "addresses": ["tcp://127.0.0.1:5556", "tcp://127.0.0.2:5557", "tcp://127.0.0.1:*", "tcp://127.0.0.1:0"]
        },
        "pipeline": {"listen": ["tcp://127.0.0.1:5555", "tcp://[::1]:5556", "ipc:///x/a"], "insecure": True},
    }
    check_listen_addresses(listen_addresses(Settings.parse(raw)))
