"""Where a run is asked: who is answered, what is ignored, and where it listens."""

from __future__ import annotations

import logging
import pickle
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq

from posestream.pipeline.addresses import LOCAL
from posestream.pipeline.control.client import ask
from posestream.pipeline.control.desk import ControlDesk, NoDesk, open_desk
from posestream.pipeline.control.roster import Answer, Question
from posestream.pipeline.errors import HeadError
from posestream.pipeline.security.guard import UNGUARDED, ConnectGuard, ListenGuard
from posestream.pipeline.security.keys import read_pair, write_new_pair
from posestream.pipeline.wire.control import Agreed, ListSources, PauseSource
from posestream.pipeline.wire.envelope import encode
from posestream.pipeline.wire.messages import LaneEnd, Message
from posestream.stages.errors import SettingsError

DEADLINE_S = 60.0

pytestmark = pytest.mark.usefixtures("runtime")


def echo(question: Question) -> Answer:
    """Answer whatever is asked."""
    return Agreed(type(question).__name__)


def answered(desk: ControlDesk, address: str, question: Question, guard: ConnectGuard = UNGUARDED) -> Answer:
    """Ask from another thread while the desk is looked after."""
    with ThreadPoolExecutor(1) as pool:
        answer: Future[Answer] = pool.submit(ask, address, question, guard, DEADLINE_S)
        while not answer.done():
            desk.tick(echo)
            time.sleep(0.005)
    return answer.result()


def look_until(desk: ControlDesk, is_so: Callable[[], object]) -> None:
    """Look after the desk until something is so."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        desk.tick(echo)
        assert time.monotonic() < deadline_s, desk
        time.sleep(0.005)


def test_it_listens_where_nobody_else_may_enter(runtime: Path) -> None:
    """The socket is there without being asked for, in a folder of this user's alone, and both go with the desk."""
    desk = ControlDesk(())
    (folder,) = runtime.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert desk.addresses == (f"ipc://{folder}/control",)
    assert answered(desk, desk.addresses[0], ListSources()) == Agreed("ListSources")
    desk.close()
    assert not list(runtime.iterdir())


def test_what_is_no_question_is_counted_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """Noise, pickles, other messages, payloads and huge ones are not answered, and the next question is."""
    desk = ControlDesk(())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    speaker = context.socket(zmq.DEALER)
    speaker.linger = 0
    speaker.connect(desk.addresses[0])
    other: Message = LaneEnd("door")
    bad = [[b""], [b"\xc1"], [pickle.dumps(["ListSources"])], encode(other), [*encode(ListSources()), b"payload"]]
    for parts in bad:
        speaker.send_multipart(parts)
    look_until(desk, lambda: desk.malformed == len(bad))

    # More than a header may have is cut off by the socket itself.
    speaker.send(b"x" * (1 << 20))
    assert answered(desk, desk.addresses[0], PauseSource("a")) == Agreed("PauseSource")
    assert (desk.malformed, speaker.poll(0)) == (len(bad), 0)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 3
    speaker.close()
    context.term()
    desk.close()


def test_a_flood_of_questions_leaves_time_for_the_run() -> None:
    """However many questions wait, one look answers a bounded number."""
    desk = ControlDesk(())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    speaker = context.socket(zmq.DEALER)
    speaker.setsockopt(zmq.IDENTITY, b"flood")
    speaker.connect(desk.addresses[0])
    for _ in range(300):
        speaker.send_multipart(encode(ListSources()))
    seen: list[Question] = []

    def note(question: Question) -> Answer:
        seen.append(question)
        return Agreed("")

    deadline_s = time.monotonic() + DEADLINE_S
    while len(seen) < 300:
        before = len(seen)
        desk.tick(note)
        assert len(seen) - before <= 100
        assert time.monotonic() < deadline_s
    speaker.close(0)
    context.term()
    desk.close()


def test_over_tcp_with_keys(tmp_path: Path) -> None:
    """With keys, who is on the list is answered over TCP; others hear nothing, end, and are counted."""
    head = read_pair(write_new_pair("head", tmp_path / "keys")[1])
    public, secret = write_new_pair("me", tmp_path / "mine")
    (tmp_path / "clients").mkdir()
    public.rename(tmp_path / "clients" / public.name)
    desk = ControlDesk(("tcp://127.0.0.1:*", LOCAL), ListenGuard(head), tmp_path / "clients")
    local, tcp = desk.addresses

    mine = ConnectGuard(read_pair(secret), head.public)
    assert answered(desk, tcp, ListSources(), mine) == Agreed("ListSources")
    assert answered(desk, local, ListSources()) == Agreed("ListSources")
    stopping = threading.Event()
    looking = threading.Thread(target=lambda: [desk.tick(echo) for _ in iter(lambda: stopping.wait(0.01), True)])
    looking.start()
    with pytest.raises(HeadError, match="nobody answers"):
        ask(tcp, ListSources(), patience_s=0.5)
    assert desk.refused >= 1
    before = desk.refused
    stranger = ConnectGuard(read_pair(write_new_pair("stranger", tmp_path / "others")[1]), head.public)
    with pytest.raises(HeadError, match=r"nobody answers at .*; does it allow this key"):
        ask(tcp, ListSources(), stranger, patience_s=0.5)
    assert desk.refused == before + 1
    stopping.set()
    looking.join()
    desk.close()


def test_an_address_that_cannot_be_had(runtime: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that was asked for is refused in one line and leaves nothing; the one that was not is done without."""
    with pytest.raises(SettingsError, match="control: cannot listen on tcp://nowhere"):
        open_desk(("tcp://nowhere:1",))
    assert not list(runtime.iterdir())
    runtime.rmdir()
    runtime.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("posestream.pipeline.supervision.run_folder._base", lambda: runtime)
        assert isinstance(open_desk(()), NoDesk)
    runtime.unlink()
    runtime.mkdir()
    assert "sources cannot be changed while this runs" in caplog.text


def test_nobody_there() -> None:
    """Where nobody listens, asking ends in time and in one line; what is no address is refused at once."""
    with pytest.raises(HeadError, match=r"nobody answers at ipc:///nowhere/control within 0\.2 s"):
        ask("ipc:///nowhere/control", ListSources(), patience_s=0.2)
    with pytest.raises(SettingsError, match="cannot connect to nonsense"):
        ask("nonsense", ListSources())


def test_a_list_from_below_its_beginning() -> None:
    """A question that no run would answer is refused where it is made, so that nobody waits for an answer."""
    with pytest.raises(ValueError, match="first = -3 is below 0"):
        ListSources(-3)
