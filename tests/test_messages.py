"""What is published is what the page says: the schema, recorded bytes of version 1, and the examples."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from jsonschema import Draft202012Validator

from posestream.pipeline.commands import main
from posestream.pipeline.result import PosesResult
from posestream.stages.message import json_line

from .e2e import DEADLINE_S, ROOT, FakeNetwork, messages

_GOLDEN = Path(__file__).parent / "golden"
_SCHEMA = json.loads((ROOT / "docs" / "messages.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(_SCHEMA)


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """A network that sees one person in every picture."""
    return FakeNetwork(monkeypatch)


@contextmanager
def listener(address: str) -> Iterator[zmq.Socket[bytes]]:
    """Subscribe to everything."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(address)
    yield socket
    socket.close()
    context.term()


def test_every_message_of_a_run_fits_the_schema(tmp_path: Path, media: Any) -> None:
    """Lines and published messages of all types fit; those that were published are the lines, bit for bit."""
    clip = media.write_video(tmp_path / "door.mp4", media.numbered(12))
    address, lines = f"ipc://{tmp_path}/poses", tmp_path / "out.jsonl"
    with listener(address) as socket:
        assert main(["run", str(clip), "--net-height", "64", "--publish", address, "--save-jsonl", str(lines)]) == 0
        received = []
        while socket.poll(500):
            received.append(socket.recv_multipart())
    told = messages(lines)
    published = [(topic.partition(b"/")[0], msgpack.unpackb(body)) for topic, body in received]
    assert {kind for kind, _ in published} >= {b"status"}
    for message in (*told, *(message for _, message in published)):
        VALIDATOR.validate(message)
    poses = [message for kind, message in published if kind == b"poses"]
    # A short run may have ended before a listener was connected to the whole of it.
    assert poses == told[len(told) - len(poses) :]
    assert len(told) == 12


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"n": -1}, {"source": "Door"}, {"people": [{"id": None}]}, {"type": "pose"}, {"pts": "0"}],
)
def test_the_schema_refuses_what_is_wrong(change: dict[str, Any]) -> None:
    """A message with one odd value does not fit."""
    good = messages(_GOLDEN / "messages-v1.jsonl")[0]
    assert VALIDATOR.is_valid(good)
    assert VALIDATOR.is_valid(good | {"new_key": 1})
    assert not VALIDATOR.is_valid(good | change)


def test_recorded_bytes_of_version_1_are_read() -> None:
    """Lines and msgpack that were written once are the same objects for ever, fit the schema, and make results."""
    lines = (_GOLDEN / "messages-v1.jsonl").read_bytes()
    told = messages(lines.decode())
    packed = _unpacked((_GOLDEN / "messages-v1.msgpack").read_bytes())
    assert packed == told
    assert b"".join(json_line(message) for message in told) == lines
    assert b"".join(msgpack.packb(message) for message in told) == (_GOLDEN / "messages-v1.msgpack").read_bytes()
    for message in told:
        VALIDATOR.validate(message)
    results = [PosesResult.from_message(message) for message in told if message["type"] == "poses"]
    assert [(result.n, len(result.people)) for result in results] == [(0, 2), (1, 2), (2, 0), (3, 2), (5, 0), (6, 1)]
    assert results[-1].name == "val/000000000139.jpg"


def _unpacked(data: bytes) -> list[dict[str, Any]]:
    """Read objects that stand behind each other."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return list(unpacker)


def test_the_page_shows_the_examples() -> None:
    """What the page prints are the files that are run, but for the address."""
    page = (ROOT / "docs" / "messages.md").read_text("utf-8")
    for name in ("subscribe.py", "subscribe.mjs"):
        code = (ROOT / "docs" / name).read_text("utf-8")
        code = code.replace("sys.argv[1]", '"tcp://127.0.0.1:5556"').replace(
            "process.argv[2]", '"tcp://127.0.0.1:5556"'
        )
        shown = code[code.index("socket = ") :] if name.endswith(".py") else code[code.index("const socket") :]
        assert shown.replace("  # noqa: T201", "") in page


def test_the_python_example_listens(tmp_path: Path) -> None:
    """The ten lines of pyzmq and msgpack print what is published."""
    address = f"ipc://{tmp_path}/poses"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.XPUB)
    socket.bind(address)
    example = subprocess.Popen(  # noqa: S603 — our own program
        [sys.executable, "-u", str(ROOT / "docs" / "subscribe.py"), address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert socket.poll(int(DEADLINE_S * 1000))
        assert socket.recv() == b"\x01poses/"
        message = messages(_GOLDEN / "messages-v1.jsonl")[0]
        socket.send_multipart([b"poses/door/", msgpack.packb(message)])
        assert example.stdout is not None
        assert example.stdout.readline() == f"poses/door/ 0 {[person['bbox'] for person in message['people']]}\n"
    finally:
        example.kill()
        example.communicate()
        socket.close(0)
        context.term()
