"""What the pipeline tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
import zmq

from posestream.pipeline.latency import STAGES
from posestream.pipeline.status import StatusPublisher, pipeline_status, source_status
from posestream.stages.errors import SettingsError

from .conftest import Runs


def test_status_adds_up_while_it_runs_and_afterwards(pictures: Callable[..., Path], runs: Runs) -> None:
    """At every look, taken = posed + dropped + in flight, for each source."""
    supervisor = runs.start({"source": [{"url": str(pictures(12, broken=[3])), "name": "stills"}]})
    looks = []
    while supervisor.is_running:
        supervisor.wait(0.01)
        looks.append(source_status(supervisor, supervisor.lanes[0]))
    last = source_status(supervisor, supervisor.lanes[0])
    runs.finish(supervisor)

    for status in [*looks, last]:
        assert status["taken"] == status["posed"] + sum(status["dropped"].values()) + status["in_flight"]
    assert (last["state"], last["taken"], last["posed"]) == ("ended", 12, 11)
    assert last["dropped"] == {"decode/undecodable": 1}
    assert set(last["latency_ms"]) == set(STAGES)
    assert last["latency_ms"]["total"]["p99"] >= last["latency_ms"]["total"]["p50"] > 0


def test_status_names_each_replica(pictures: Callable[..., Path], runs: Runs) -> None:
    """The whole's status tells of every replica how it is, and of what happened."""
    supervisor = runs.start({"source": [{"url": str(pictures(2))}], "replicas": {"per_device": 2}})
    while supervisor.is_running:
        supervisor.wait(0.01)
    status = pipeline_status(supervisor)
    runs.finish(supervisor)

    assert [view["name"] for view in status["replicas"]] == ["replica-1", "replica-2"]
    assert {view["state"] for view in status["replicas"]} <= {"loading", "ready", "busy"}
    assert (status["restarts"], status["redelivered"], status["malformed"]) == (0, 0, 0)


def test_status_is_published(tmp_path: Path, pictures: Callable[..., Path], runs: Runs) -> None:
    """A subscriber receives `[topic, msgpack of the object]` for each source and for the whole."""
    address = f"ipc://{tmp_path}/status"
    publisher = StatusPublisher([address])
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    listener.connect(address)
    listener.subscribe(b"status/")
    supervisor = runs.start({"source": [{"url": str(pictures(2)), "name": "stills"}]})
    received: dict[bytes, object] = {}
    while len(received) < 2:
        publisher.publish(supervisor)
        supervisor.wait(0.05)
        while listener.poll(0):
            topic, body = listener.recv_multipart()
            received[topic] = msgpack.unpackb(body)
    listener.close(0)
    context.term()
    publisher.close()
    runs.finish(supervisor)

    assert set(received) == {b"status/stills/", b"status/"}
    assert received[b"status/stills/"]["type"] == "status"  # type: ignore[index]


def test_an_address_that_is_taken_is_refused() -> None:
    """Two publishers cannot listen on one address; the second says so before any work."""
    first = StatusPublisher(["tcp://127.0.0.1:*"])
    taken = first.addresses[0]
    with pytest.raises(SettingsError, match="cannot listen"):
        StatusPublisher([taken])
    first.close()
