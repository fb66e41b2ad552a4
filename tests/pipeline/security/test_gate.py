"""Guarded sockets: who gets in, and who is counted."""

from __future__ import annotations

import logging
import re
import socket as plain_socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from posestream.pipeline.security.allowed import AllowedFiles, Everybody, allowed_of
from posestream.pipeline.security.gate import Gate
from posestream.pipeline.security.guard import UNGUARDED, ConnectGuard, ListenGuard, is_exposed, refuse_exposed
from posestream.pipeline.security.keys import KeyPair, read_pair, write_new_pair
from posestream.pipeline.security.refusal import RefusalCount
from posestream.pipeline.wire.sockets import Sockets
from posestream.stages.errors import SettingsError

DEADLINE_S = 60.0
Context = zmq.Context[zmq.Socket[bytes]]


class Head:
    """A guarded socket that listens to TCP and, in the clear, to ipc, with its gate."""

    def __init__(self, context: Context, folder: Path) -> None:
        self.keys = read_pair(write_new_pair("head", folder / "keys")[1])
        self.clients = folder / "clients"
        self.clients.mkdir()
        self.gate = Gate(context, AllowedFiles(self.clients))
        self.sockets = Sockets(context)
        self.socket = self.sockets.open(zmq.ROUTER)
        self.gate.watch(self.socket)
        self.ipc = self.sockets.bind(self.socket, f"ipc://{folder}/private/head", ListenGuard(self.keys))
        self.tcp = self.sockets.bind(self.socket, "tcp://127.0.0.1:*", ListenGuard(self.keys))

    def hears(self, guard: ConnectGuard, address: str) -> bytes | None:
        """Let a client say something and give what arrives; None if it was turned away first."""
        client: Context = zmq.Context()
        with Sockets(client) as sockets:
            speaker = sockets.open(zmq.DEALER)
            speaker.linger = 0
            guard.apply(speaker, address)
            speaker.connect(address)
            speaker.send(b"hello")
            refused, deadline_s = self.gate.refused, time.monotonic() + DEADLINE_S
            while time.monotonic() < deadline_s and self.gate.refused == refused:
                if self.socket.poll(20):
                    break
            heard = self.socket.recv_multipart()[1] if self.socket.poll(0) else None
        client.term()
        return heard

    def allow(self, name: str) -> KeyPair:
        """Make a client's keys and put the public one on the list."""
        public, secret = write_new_pair(name, self.clients.parent / "theirs")
        public.rename(self.clients / public.name)
        return read_pair(secret)


@pytest.fixture
def head(context: Context, tmp_path: Path) -> Iterator[Head]:
    """A head that is closed before its context ends."""
    made = Head(context, tmp_path)
    yield made
    made.sockets.__exit__(None, None, None)
    made.gate.close()


def test_an_allowed_client_is_heard(head: Head) -> None:
    """A client whose key was put on the list, even while the head runs, gets in; nobody is counted."""
    keys = head.allow("friend")
    assert head.hears(ConnectGuard(keys, head.keys.public), head.tcp) == b"hello"
    assert head.gate.refused == 0


#: What is told of who ends the connection itself, and of a client without keys, which may do that too.
_LEFT = "a connection ended while it was being opened: a mere look at the port, or a client without keys"
_WITHOUT_KEYS = f"turned away: a client without keys|{_LEFT}"
WrongGuard = Callable[[Head, Path], ConnectGuard]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        pytest.param(lambda head, folder: UNGUARDED, _WITHOUT_KEYS, id="no keys"),
        pytest.param(
            lambda head, folder: ConnectGuard(read_pair(write_new_pair("x", folder)[1]), head.keys.public),
            "turned away: a client whose key is not allowed, at 127.0.0.1",
            id="a key that is not on the list",
        ),
        pytest.param(
            lambda head, folder: ConnectGuard(head.allow("friend"), read_pair(write_new_pair("x", folder)[1]).public),
            "turned away: a client that does not have this head's key",
            id="not the head's key",
        ),
    ],
)
def test_everybody_else_is_turned_away_and_counted(
    head: Head, tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: WrongGuard, told: str
) -> None:
    """A client without keys, with an unknown one, or with the wrong key of the head is not heard, counted and told."""
    assert head.hears(wrong(head, tmp_path / "others"), head.tcp) is None
    assert head.gate.refused >= 1
    assert all(re.fullmatch(told, record.getMessage()) for record in caplog.records)
    assert caplog.records


def test_a_look_at_the_port_is_no_wrong_key(head: Head, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever connects and leaves without a word is told as that, a few times and not for ever."""
    host, port = head.tcp.removeprefix("tcp://").split(":")
    for _ in range(5):
        plain_socket.create_connection((host, int(port))).close()
    deadline_s = time.monotonic() + DEADLINE_S
    while head.gate.refused < 5 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == [_LEFT] * 3


def test_a_client_with_keys_is_told_that_there_are_none(caplog: pytest.LogCaptureFixture) -> None:
    """A head without keys tells of it as it is, and of what is no client at all."""
    count = RefusalCount(logging.getLogger(__name__), has_keys=False)
    failed = {"event": zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL}
    count.note({**failed, "value": zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH})
    count.note({**failed, "value": zmq.PROTOCOL_ERROR_ZMTP_UNSPECIFIED})
    assert count.refused == 2
    assert [record.getMessage() for record in caplog.records] == [
        "turned away: a client with keys, where this head has none",
        "turned away: what does not speak as a client does",
    ]


def test_the_same_socket_hears_its_own_host_in_the_clear(head: Head, tmp_path: Path) -> None:
    """Over ipc no keys are needed: the folder and the socket are this user's alone."""
    assert head.hears(UNGUARDED, head.ipc) == b"hello"
    folder = tmp_path / "private"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "head").stat().st_mode & 0o777 == 0o600


def test_a_key_that_was_removed_is_allowed_no_more(tmp_path: Path) -> None:
    """The list is looked at anew for everybody who connects."""
    public, secret = write_new_pair("friend", tmp_path)
    allowed = allowed_of(tmp_path)
    assert allowed.allows(read_pair(secret).public)
    public.unlink()
    assert not allowed.allows(read_pair(secret).public)


def test_without_a_list_whoever_knows_the_heads_key_may_connect() -> None:
    """No list of clients means that everybody with the head's public key is allowed."""
    assert isinstance(allowed_of(None), Everybody)
    assert allowed_of(None).allows(b"anybody")


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A mistyped path must not let nobody, or everybody, in."""
    with pytest.raises(SettingsError, match="no such file"):
        allowed_of(tmp_path / "nowhere")


def test_addresses_that_others_reach_need_keys_or_a_word() -> None:
    """Without keys an exposed address is refused, unless it was said to be wanted; own ones never are."""
    own = ["tcp://127.0.0.1:5", "tcp://localhost:5", "tcp://[::1]:5", "ipc:///run/me/x"]
    assert not any(is_exposed(address) for address in own)
    exposed = ["tcp://*:5", "tcp://0.0.0.0:5", "tcp://[::]:5", "tcp://10.0.0.1:5", "tcp://eth0:5"]
    assert all(is_exposed(address) for address in exposed)
    with pytest.raises(SettingsError, match="--insecure"):
        refuse_exposed(exposed, has_keys=False, is_insecure=False)
    assert refuse_exposed(exposed, has_keys=False, is_insecure=True) == exposed
    assert refuse_exposed(exposed, has_keys=True, is_insecure=False) == []


@pytest.mark.parametrize("name", ["file", "listening", "@abstract"])
def test_an_ipc_address_that_is_not_free_is_refused(context: Context, tmp_path: Path, name: str) -> None:
    """ZeroMQ would delete a file or push another listener aside; abstract names are open to every user."""
    (tmp_path / "file").write_text("precious")
    with Sockets(context) as sockets:
        first, second = sockets.open(zmq.PUB), sockets.open(zmq.PUB)
        sockets.bind(first, f"ipc://{tmp_path}/listening")
        address = "ipc://@name" if name.startswith("@") else f"ipc://{tmp_path}/{name}"
        with pytest.raises(SettingsError, match="cannot listen"):
            sockets.bind(second, address)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_list_that_cannot_be_reached_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, nobody is let in meanwhile, and everybody on it is once it can be reached again."""
    public = read_pair(write_new_pair("friend", tmp_path)[1]).public
    allowed = AllowedFiles(tmp_path)
    with monkeypatch.context() as patch:

        def unreachable(self: AllowedFiles) -> list[Path]:
            raise PermissionError(13, "Permission denied")

        patch.setattr(AllowedFiles, "_files", unreachable)
        assert [allowed.allows(public) for _ in range(3)] == [False] * 3
    assert allowed.allows(public)
    assert sum("cannot be read" in record.getMessage() for record in caplog.records) == 1
