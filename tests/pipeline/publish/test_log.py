"""What a publisher remembers."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestream.pipeline.publish.disk_log import DiskLog
from posestream.pipeline.publish.history import History
from posestream.pipeline.publish.log import Entry, LogLimits, Position, ReplayLog
from posestream.stages.errors import SettingsError


def entry(run: str, n: int, at_s: float = 0.0, size: int = 0) -> Entry:
    """Make a message of about so many bytes."""
    body: bytes = msgpack.packb({"run": run, "n": n, "filling": b"x" * size})
    return Entry(run, n, at_s, body)


def places(entries: tuple[Entry, ...]) -> list[tuple[str, int]]:
    """Give what tells messages apart."""
    return [(one.run, one.n) for one in entries]


@given(
    runs=st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=12), min_size=1, max_size=4),
    most=st.integers(1, 30),
    asked=st.tuples(st.integers(0, 5), st.integers(0, 40)),
    piece=st.integers(1, 10),
)
def test_a_place_gives_what_is_still_there_after_it(
    runs: list[list[int]], most: int, asked: tuple[int, int], piece: int
) -> None:
    """Pieces from any place, put together, are all held messages of that run from that number on and of later runs."""
    log = ReplayLog(LogLimits(messages=most))
    everything: list[tuple[str, int]] = []
    for number, steps in enumerate(runs):
        n = -1
        for step in steps:  # numbers may have gaps
            n += step
            assert log.add(entry(f"run{number}", n))
            everything.append((f"run{number}", n))
    held = everything[-most:]

    run, from_n = f"run{asked[0]}", asked[1]
    is_known = run in [name for name, _ in held]
    begin = next((i for i, (name, n) in enumerate(held) if (name == run and n >= from_n) or name > run), len(held))
    expected = held[begin:] if is_known else held

    got: list[tuple[str, int]] = []
    place: Position | None = Position(run, from_n)
    while True:
        span = log.since(place, piece, 1 << 30)
        got += places(span.entries)
        if span.is_last:
            break
        place = Position(span.entries[-1].run, span.entries[-1].n + 1)
    assert got == expected
    assert log.next == Position(everything[-1][0], everything[-1][1] + 1)
    assert len(log) == len(held)


def test_what_was_published_is_not_published_again() -> None:
    """A number that is not greater than the last one of the same run is refused; a new run begins anew."""
    log = ReplayLog(LogLimits())
    assert log.add(entry("a", 5))
    assert not log.add(entry("a", 5))
    assert not log.add(entry("a", 0))
    assert log.add(entry("b", 0))
    assert places(log.since(None, 10, 1 << 20).entries) == [("a", 5), ("b", 0)]


def test_bytes_and_age_are_bounds_too() -> None:
    """The oldest messages go when all together are too large or they are too old; the last one stays for its number."""
    log = ReplayLog(LogLimits(bytes=10_000, age_s=10.0))
    for n in range(8):
        log.add(entry("a", n, at_s=n, size=2000))
    assert places(log.since(None, 10, 1 << 20).entries) == [("a", n) for n in range(4, 8)]
    log.expire(16.5)
    assert places(log.since(None, 10, 1 << 20).entries) == [("a", 7)]
    log.expire(100.0)
    assert len(log) == 0
    assert log.next == Position("a", 8)
    assert not log.add(entry("a", 7, 100.0))


def test_a_piece_is_bounded_but_never_empty_before_the_end() -> None:
    """A message larger than a piece goes alone."""
    log = ReplayLog(LogLimits())
    for n in range(3):
        log.add(entry("a", n, size=5000))
    span = log.since(None, 10, 1000)
    assert (places(span.entries), span.is_last) == ([("a", 0)], False)


def test_a_log_on_disk_outlives_its_writer(tmp_path: Path) -> None:
    """Another process reads what one wrote, and goes on after it."""
    history = History(LogLimits(), tmp_path / "log")
    for n in range(5):
        assert history.add("door", entry("a", n, at_s=1000.0 + n))
    history.close()

    again = History(LogLimits(), tmp_path / "log")
    assert places(again.logs["door"].since(None, 10, 1 << 20).entries) == [("a", n) for n in range(5)]
    assert not again.add("door", entry("a", 4, at_s=1005.0))
    assert again.add("door", entry("b", 0, at_s=1005.0))
    again.close()
    third = History(LogLimits(), tmp_path / "log")
    assert third.logs["door"].next == Position("b", 1)
    third.close()


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_what_a_kill_left_half_is_left_out(tmp_path: Path, damage: str) -> None:
    """A record that was cut off, or whose bytes are not those written, ends the log; those before it are there."""
    log = DiskLog(tmp_path, LogLimits())
    assert list(log.read()) == []
    for n in range(3):
        log.write(entry("a", n, size=100))
    log.close()
    (path,) = tmp_path.glob("*.log")
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-30:]
    else:
        data[-30] ^= 1
    path.write_bytes(data)
    assert places(tuple(DiskLog(tmp_path, LogLimits()).read())) == [("a", 0), ("a", 1)]


@pytest.mark.parametrize(
    "tail",
    [bytes(1000), struct.pack("<IId", 1, zlib.crc32(b"\x05"), 1.0) + b"\x05", struct.pack("<IId", 1, 2, 3.0)[:5]],
    ids=["zeros", "no message", "cut"],
)
def test_what_is_no_record_ends_a_file_with_one_line(
    tmp_path: Path, tail: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Zeros, records that are no messages and folders end no start; records before them, and new ones, are there."""
    log = DiskLog(tmp_path, LogLimits())
    log.write(entry("a", 0))
    log.close()
    (path,) = tmp_path.glob("*.log")
    path.write_bytes(path.read_bytes() + tail)
    (tmp_path / "00000002.log").mkdir()
    again = DiskLog(tmp_path, LogLimits())
    assert places(tuple(again.read())) == [("a", 0)]
    assert sum(str(path) in record.getMessage() for record in caplog.records) == 1
    again.write(entry("a", 1))
    again.close()
    assert places(tuple(DiskLog(tmp_path, LogLimits()).read())) == [("a", 0), ("a", 1)]


def test_a_log_on_disk_stays_within_its_bytes(tmp_path: Path) -> None:
    """The oldest files go; what is left is the end, without a hole."""
    limits = LogLimits(bytes=64_000)
    log = DiskLog(tmp_path, limits)
    list(log.read())
    for n in range(200):
        log.write(entry("a", n, at_s=n, size=1000))
    log.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limits.bytes + 2000
    left = [one.n for one in DiskLog(tmp_path, limits).read()]
    assert left == list(range(left[0], 200))
    assert len(left) > 40


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")
def test_a_source_that_ended_leaves_no_open_file(tmp_path: Path) -> None:
    """However many sources come and go, no file stays open; one that comes again goes on in a new file."""
    history = History(LogLimits(), tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        history.add(f"door-{number}", entry("a", 0))
        history.end(f"door-{number}")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    history.add("door-0", entry("a", 1))
    history.close()
    again = History(LogLimits(), tmp_path)
    assert places(again.logs["door-0"].since(None, 10, 1 << 20).entries) == [("a", 0), ("a", 1)]
    again.close()


def test_two_heads_do_not_share_a_log(tmp_path: Path) -> None:
    """The second one is refused before any work."""
    history = History(LogLimits(), tmp_path)
    with pytest.raises(SettingsError, match="another run writes there"):
        History(LogLimits(), tmp_path)
    history.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_costs_the_log_on_disk_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is one error; messages are still held in memory, and no second error follows."""
    history = History(LogLimits(), tmp_path)
    monkeypatch.setattr(DiskLog, "_path", lambda self, number: Path("/dev/full"))
    assert history.add("door", entry("a", 0))
    assert history.add("door", entry("a", 1))
    assert [str(error).partition(":")[0] for error in history.errors.values()] == [f"cannot write {tmp_path / 'door'}"]
    assert len(history.logs["door"]) == 2
    history.close()


@pytest.mark.parametrize("held", [0, 3])
def test_what_a_full_disk_did_not_take_is_known_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Of a run that the disk took no more of, not a byte, the next process does not say that it is complete."""
    history = History(LogLimits(), tmp_path)
    history.add("door", entry("a", 0))
    history.end("door")
    for n in range(1, 1 + held):
        history.add("door", entry("a", n))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("posestream.pipeline.publish.disk_log.write_whole", full)
        history.add("door", entry("a", 1 + held))
    history.close()

    again = History(LogLimits(), tmp_path)
    again.add("door", entry("b", 0))
    span = again.logs["door"].since(Position("a", 1 + held), 10, 1 << 20)
    assert places(span.entries) == [("b", 0)]
    assert not span.is_known
    again.close()


def test_a_source_may_be_called_as_the_lock_was(tmp_path: Path) -> None:
    """A folder of before, with its empty lock file, is read, and a source of that name has its log in it."""
    history = History(LogLimits(), tmp_path)
    history.add("door", entry("a", 0))
    history.close()
    (tmp_path / "lock").touch()

    again = History(LogLimits(), tmp_path)
    again.add("lock", entry("a", 0))
    again.close()

    third = History(LogLimits(), tmp_path)
    assert not again.errors
    assert {name: len(log) for name, log in third.logs.items()} == {"door": 1, "lock": 1}
    third.close()


def test_a_source_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    """What stands in the way of one source's folder is one error; the others' messages go to the disk."""
    (tmp_path / "door").write_text("in the way")
    history = History(LogLimits(), tmp_path)
    for n in range(2):
        assert history.add("door", entry("a", n))
        assert history.add("gate", entry("a", n))
    history.close()
    assert list(history.errors) == ["door"]
    assert len(history.logs["door"]) == 2

    again = History(LogLimits(), tmp_path)
    assert {name: len(log) for name, log in again.logs.items()} == {"gate": 2}
    again.close()
