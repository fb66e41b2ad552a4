"""Subscribing over real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posestream.pipeline import Gap, PosesResult, subscribe, subscribe_async
from posestream.pipeline.client.subscription import Messages
from posestream.pipeline.publish.answers import Answers
from posestream.pipeline.publish.log import LogLimits
from posestream.pipeline.security.guard import ConnectGuard
from posestream.pipeline.security.keys import write_new_pair
from posestream.stages.errors import SettingsError

from ..publish.stand import DEADLINE_S, Stand  # noqa: TID252 — tests are no package


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """A publisher."""
    made = Stand(f"ipc://{tmp_path}/poses")
    yield made
    made.close()


def wait_for_layout(messages: Messages) -> None:
    """Wait until the publisher knows of a subscriber."""
    while messages.layout is None:
        messages.wait(0.1)


@contextmanager
def telling(stand: Stand) -> Iterator[None]:
    """Publish the status again and again, as a run does; nothing else may be published meanwhile."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(0.05):
            stand.tell()

    thread = threading.Thread(target=tell)
    thread.start()
    yield
    ended.set()
    thread.join()


def take(messages: Iterator[Mapping[str, Any]], count: int) -> list[int]:
    """Give the numbers of the next messages."""
    return [next(messages)["n"] for _ in range(count)]


def test_importing_it_loads_no_engine() -> None:
    """`subscribe` imports neither OpenCV, nor FFmpeg, nor an engine, nor what settings are checked with."""
    code = (
        "import sys; from posestream.pipeline import subscribe, subscribe_async, Gap, PosesResult;"
        "print(sorted({'cv2', 'av', 'openvino', 'pydantic', 'rich', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 — our own program
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert done.stdout == "[]\n"


def test_a_slow_subscriber_outlives_a_reset() -> None:
    """One that does not read, with a full queue, is not ended when its connection is reset.

    In a process of its own: libzmq ends one that pings over such a connection.
    """
    program = (sys.executable, "-m", "tests.pipeline.client.slow")
    root = Path(__file__).parents[3]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 — our own program
    assert (done.returncode, done.stderr) == (0, "")


def test_results_are_typed(stand: Stand) -> None:
    """What comes is a `PosesResult` with NumPy keypoints, NaN where one was not found; drops are passed over."""
    stand.publish(0, type="drop")
    stand.publish(1)
    with subscribe(stand.address, ["door"], replay=True, idle_s=DEADLINE_S) as poses:
        result = next(poses)
        assert poses.layout is not None
    assert isinstance(result, PosesResult)
    assert (result.source, result.n, result.layout) == ("door", 1, "openpose-18")
    np.testing.assert_array_equal(result.people[0].keypoints, np.array([[1, 2, 0.5], [np.nan] * 3], np.float32))


def test_one_can_wait_until_a_publisher_is_heard(stand: Stand) -> None:
    """A publisher is heard once it tells its layout, before any message; where none is, the wait ends with False."""
    with telling(stand), subscribe(stand.address, idle_s=DEADLINE_S) as poses:
        assert poses.layout is None
        assert poses.wait_until_heard(DEADLINE_S)
        assert poses.layout is not None
    with subscribe(f"{stand.address}-of-nobody") as poses:
        assert not poses.wait_until_heard(0.01)


def test_asyncio_gives_the_same(stand: Stand) -> None:
    """`async for` gives each result in order, and another task has its turn meanwhile."""

    async def listen() -> list[int]:
        got = []
        async with subscribe_async(stand.address, replay=True, idle_s=DEADLINE_S) as poses:
            async for result in poses:
                got.append(result.n)
                if len(got) == 3:
                    return got
        return got

    async def main() -> list[int]:
        listening = asyncio.create_task(listen())
        for n in range(3):
            stand.publish(n)
            await asyncio.sleep(0)
        return await asyncio.wait_for(listening, DEADLINE_S)

    assert asyncio.run(main()) == [0, 1, 2]


@pytest.mark.parametrize("is_busy", [False, True], ids=["silence", "messages"])
def test_closing_ends_a_loop_that_waits_in_another_task(stand: Stand, *, is_busy: bool) -> None:
    """A pending read ends as after the last message, nothing is left in the loop, and no error is told."""
    told: list[dict[str, Any]] = []

    async def listen(poses: Any) -> list[int]:
        return [result.n async for result in poses]

    async def main() -> tuple[list[int], set[Any]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        poses = subscribe_async(stand.address, replay=True)
        listening = asyncio.create_task(listen(poses))
        deadline_s = time.monotonic() + DEADLINE_S
        while poses.layout is None and time.monotonic() < deadline_s:
            await asyncio.sleep(0.01)
        if is_busy:
            for n in range(100):
                stand.publish(n)
            await asyncio.sleep(0.02)
        poses.close()
        got = await asyncio.wait_for(listening, DEADLINE_S)
        poses.close()
        await asyncio.sleep(0)
        return got, asyncio.all_tasks() - {asyncio.current_task()}

    got, left = asyncio.run(main(), debug=True)
    assert got == list(range(len(got)))
    assert (left, told) == (set(), [])


def test_a_task_that_is_cancelled_is_cancelled(stand: Stand) -> None:
    """Cancelling the reading task is no end of the loop, though the subscription is closed by it."""

    async def listen() -> None:
        async with subscribe_async(stand.address) as poses:
            async for _ in poses:
                pass

    async def main() -> set[Any]:
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.05)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(main(), debug=True) == set()


def test_one_who_comes_late_gets_what_was_before_and_then_live(stand: Stand) -> None:
    """With replay all that is remembered comes first, whatever the sources are called, then live without a seam."""
    for n in range(300):
        stand.publish(n)
    gaps: list[Gap] = []
    with Messages(stand.address, replay=True, on_gap=gaps.append, idle_s=DEADLINE_S) as messages:
        assert take(messages, 300) == list(range(300))
        for n in range(300, 320):
            stand.publish(n)
        assert take(messages, 20) == list(range(300, 320))
    assert gaps == []


def test_a_subscriber_that_comes_back_has_no_gap_and_no_double(stand: Stand) -> None:
    """Twenty times of twenty, one that leaves at any moment goes on after its last message, while messages go on."""
    got: list[int] = []
    gaps: list[Gap] = []
    published = 0
    after: dict[str, tuple[str, int]] = {}
    for turn in range(20):
        for _ in range(turn % 7):
            stand.publish(published)
            published += 1
        with Messages(
            stand.address, ["door"], replay=True, after=after, on_gap=gaps.append, idle_s=DEADLINE_S
        ) as messages:
            for _ in range(5):
                stand.publish(published)
                published += 1
                message = next(messages)
                got.append(message["n"])
                after = {"door": (message["run"], message["n"])}
    assert gaps == []
    assert got == list(range(len(got)))
    assert len(got) == 100


def test_a_publisher_that_was_started_again_is_no_end(tmp_path: Path) -> None:
    """With a log on disk a subscriber has everything of the old run and of the new one, once."""
    address = f"ipc://{tmp_path}/poses"
    gaps: list[Gap] = []
    with Messages(address, ["door"], replay=True, on_gap=gaps.append, idle_s=DEADLINE_S) as messages:
        got = []
        for run in ("a", "b", "c"):
            stand = Stand(address, log_folder=tmp_path / "log")
            stand.publish(0, run)
            message = next(messages)
            got.append((message["run"], message["n"]))
            # Some that are published at the very end, which it need not get before the publisher has gone.
            for n in (1, 2):
                stand.publish(n, run)
            stand.close()
        stand = Stand(address, log_folder=tmp_path / "log")
        with telling(stand):
            while len(got) < 9:
                message = next(messages)
                got.append((message["run"], message["n"]))
        stand.close()
    assert sorted(got) == got == [(run, n) for run in "abc" for n in range(3)]
    assert gaps == []


def test_what_cannot_be_had_again_is_told(tmp_path: Path) -> None:
    """What fell out of the log is a gap with its numbers, told before the message that follows."""
    stand = Stand(f"ipc://{tmp_path}/poses", limits=LogLimits(messages=3))
    for n in range(10):
        stand.publish(n)
    gaps: list[Gap] = []
    with Messages(
        stand.address, ["door"], replay=True, after={"door": ("a", 1)}, on_gap=gaps.append, idle_s=DEADLINE_S
    ) as messages:
        # The feed is another socket: some may not be published yet.
        numbers = take(messages, 3)
    stand.close()
    missing = [n for gap in gaps if gap.last is not None for n in range(gap.first, gap.last + 1)]
    assert sorted({*missing, *numbers}) == list(range(2, numbers[-1] + 1))
    assert all(gap.run == "a" for gap in gaps)


def test_without_replay_only_live_messages_come(stand: Stand) -> None:
    """Nothing is asked for; what was lost is told as a gap."""
    gaps: list[Gap] = []
    stand.publish(0)
    stand.wait_for(1)
    with Messages(stand.address, ["door"], on_gap=gaps.append, idle_s=DEADLINE_S) as messages:
        wait_for_layout(messages)
        stand.publish(1)
        stand.publish(5)
        numbers = take(messages, 2)
    assert numbers == [1, 5]
    assert gaps == [Gap("door", "a", 2, 4)]


def test_it_ends_when_nothing_comes(stand: Stand) -> None:
    """With `idle_s` a loop ends by itself; without a publisher too."""
    assert list(Messages(stand.address, idle_s=0.3)) == []
    assert list(Messages(f"{stand.address}.nobody", idle_s=0.3)) == []


def test_a_slow_loop_is_no_silence(stand: Stand) -> None:
    """Whoever takes longer over a message than `idle_s` still gets those that have come meanwhile."""
    got = []
    with Messages(stand.address, ["door"], idle_s=0.5) as messages:
        wait_for_layout(messages)
        stand.publish(0)
        messages.wait(DEADLINE_S)
        for message in messages:
            got.append(message["n"])
            if len(got) < 3:
                stand.publish(len(got))
                time.sleep(0.7)
    assert got == [0, 1, 2]


def answers_come_one_by_one(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish 8 messages of three sources; answers are small, come apart, and are asked for again soon."""
    monkeypatch.setattr("posestream.pipeline.client.core._ANSWER_S", 0.05)
    monkeypatch.setattr("posestream.pipeline.publish.answers._PIECE_MESSAGES", 2)
    answer = Answers.answer

    def late(*asked: Any) -> list[bytes]:
        time.sleep(0.01)
        return answer(*asked)

    monkeypatch.setattr(Answers, "answer", late)
    monkeypatch.setattr("posestream.pipeline.publish.answers._AT_ONCE", 1)
    for n in range(8):
        for source in ("a", "b", "c"):
            stand.publish(n, source=source)
    stand.wait_for(24)


def test_a_slow_loop_starves_no_source(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that wait while the user is busy are taken and not asked for again, so that each source has its turn."""
    answers_come_one_by_one(stand, monkeypatch)
    got = []
    with Messages(stand.address, ["a", "b", "c"], replay=True, idle_s=DEADLINE_S) as messages:
        wait_for_layout(messages)
        for _ in range(9):
            got.append(next(messages)["source"])
            time.sleep(0.1)
    assert set(got) == {"a", "b", "c"}


def test_a_slow_asyncio_loop_starves_no_source(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for `async for`: what waits is taken before anything is asked for again."""
    answers_come_one_by_one(stand, monkeypatch)

    async def listen() -> list[str]:
        got = []
        async with subscribe_async(stand.address, ["a", "b", "c"], replay=True, idle_s=DEADLINE_S) as poses:
            async for result in poses:
                got.append(result.source)
                if len(got) == 9:
                    return got
                time.sleep(0.1)
        return got

    assert set(asyncio.run(listen())) == {"a", "b", "c"}


def test_bad_calls_are_refused() -> None:
    """A name instead of a list of names, or what is no address, is said at once."""
    with pytest.raises(SettingsError, match="list of names"):
        subscribe("tcp://127.0.0.1:5556", "door")
    with pytest.raises(SettingsError, match="cannot subscribe"):
        subscribe("127.0.0.1:5556")
    with pytest.raises(SettingsError, match="both keys"):
        subscribe("tcp://127.0.0.1:5556", key="some.key_secret")


def test_keys_guard_messages_and_requests(tmp_path: Path) -> None:
    """With keys, one that is allowed has live messages and replay; one that is not gets nothing, and is counted."""
    head_public, head_secret = write_new_pair("head", tmp_path / "head")
    friend_public, friend = write_new_pair("friend", tmp_path / "friend")
    _, stranger = write_new_pair("stranger", tmp_path / "stranger")
    (tmp_path / "clients").mkdir()
    friend_public.rename(tmp_path / "clients" / "friend.key")
    stand = Stand(
        "tcp://127.0.0.1:*",
        replay="tcp://127.0.0.1:*",
        key=head_secret,
        clients=tmp_path / "clients",
        has_porch=True,
    )
    stand.publish(0)
    with subscribe(stand.address, replay=True, key=stranger, server_key=head_public, idle_s=1.0) as poses:
        assert list(poses) == []
    with subscribe(stand.address, replay=True, idle_s=1.0) as poses:
        assert list(poses) == []
    stand.wait_until(lambda: stand.porch.refused >= 2)
    with subscribe(stand.address, replay=True, key=friend, server_key=head_public, idle_s=DEADLINE_S) as poses:
        assert next(poses).n == 0
        stand.publish(1)
        assert next(poses).n == 1
    stand.close()


def test_a_client_whose_key_is_turned_away_says_so_and_tries_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ZeroMQ alone would never connect again: one line, and once the key is allowed, what was published is heard."""
    head_public, head_secret = write_new_pair("head", tmp_path / "head")
    mine_public, mine = write_new_pair("mine", tmp_path / "mine")
    (tmp_path / "clients").mkdir()
    stand = Stand(
        "tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*", key=head_secret, clients=tmp_path / "clients", has_porch=True
    )
    stand.publish(0)
    with Messages(stand.address, replay=True, guard=ConnectGuard.of(mine, head_public), idle_s=DEADLINE_S) as messages:
        deadline_s = time.monotonic() + DEADLINE_S
        while stand.porch.refused < 2:  # the second time by itself
            messages.wait(0.1)
            assert time.monotonic() < deadline_s
        mine_public.rename(tmp_path / "clients" / "mine.key")
        assert take(messages, 1) == [0]
    stand.close()
    told = [record.getMessage() for record in caplog.records if "does not allow this client's key" in record.message]
    assert len(told) == 1
    assert stand.address in told[0]


@pytest.mark.parametrize("start", [subscribe, subscribe_async])
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"address": 5}, "address 5 is no text"),
        ({"address": "ipc://none", "sources": "door"}, "give a list of names"),
        ({"address": "ipc://none", "after": {"door": 5}}, r"after\['door'\]=5: give the run and the number"),
        ({"address": "ipc://none", "after": {"door": ("a", "5")}}, "give the run and the number"),
    ],
)
def test_what_is_no_word_of_a_subscription_is_told(
    start: Callable[..., object], words: dict[str, object], why: str
) -> None:
    """A mistake in the call is one line about the argument."""

    async def begin() -> None:
        start(**words)

    with pytest.raises(SettingsError, match=why):
        asyncio.run(begin())
