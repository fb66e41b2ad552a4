"""Where a client asks for what it missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestream.pipeline.client.replay_address import replay_of
from posestream.pipeline.client.subscription import Messages

from ..publish.stand import DEADLINE_S, Stand  # noqa: TID252 — tests are no package


def test_one_asks_where_it_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of several addresses for requests the one is taken that belongs to the address that is listened to."""
    monkeypatch.chdir(tmp_path)
    offered = ["tcp://127.0.0.1:5557", "tcp://10.0.0.1:6001", "ipc:///run/a.replay", f"ipc://{tmp_path}/b.replay"]
    layout = {"replay": offered}
    assert replay_of("tcp://10.0.0.1:6000", layout) == "tcp://10.0.0.1:6001"
    assert replay_of("tcp://there:9000", layout) == "tcp://there:5557"
    assert replay_of("ipc://b", layout) == f"ipc://{tmp_path}/b.replay"
    assert replay_of("ipc:///run/c", layout) == "ipc:///run/a.replay"
    assert replay_of("inproc://c", layout) is None
    assert replay_of("tcp://there:9000", {"replay": "tcp://*:1", "addresses": 5}) is None
    stand = Stand("ipc://b")
    with Messages(stand.address, idle_s=DEADLINE_S) as messages:
        while messages.layout is None:
            messages.wait(0.1)
        assert messages.layout["addresses"] == [f"ipc://{tmp_path}/b"]
        assert messages.layout["replay"] == [f"ipc://{tmp_path}/b.replay"]
    stand.close()


def test_addresses_of_ones_own_belong_together_in_order() -> None:
    """The second address for requests of a transport is that of the second one for listening, whatever their ports."""
    layout = {
        "addresses": [
            "tcp://0.0.0.0:5556",
            "ipc:///run/a",
            "tcp://10.0.0.1:6000",
            "tcp://127.0.0.1:6000",
            "ipc:///run/b",
        ],
        "replay": ["tcp://0.0.0.0:7001", "tcp://10.0.0.1:6001", "tcp://127.0.0.1:5557", "ipc:///run/x", "ipc:///run/y"],
    }
    assert replay_of("tcp://there:5556", layout) == "tcp://there:7001"
    assert replay_of("tcp://10.0.0.1:6000", layout) == "tcp://10.0.0.1:6001"
    assert replay_of("tcp://127.0.0.1:6000", layout) == "tcp://127.0.0.1:5557"
    assert replay_of("tcp://tunnel:9000", layout) == "tcp://tunnel:7001"
    assert replay_of("ipc:///run/b", layout) == "ipc:///run/y"
    fewer = {**layout, "replay": ["tcp://0.0.0.0:7001"]}
    assert replay_of("tcp://10.0.0.1:6000", fewer) == "tcp://10.0.0.1:7001"
