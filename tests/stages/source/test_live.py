"""Live sources, with connections that do what the test says."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from dataclasses import replace

import pytest

from posestream.stages.errors import SourceError
from posestream.stages.items import Reason
from posestream.stages.source.link_state import ABSENCES, LinkPhase
from posestream.stages.source.live import LiveSource
from posestream.stages.source.reconnect import ReconnectSettings
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp
from posestream.stages.source.trouble import LinkError

from .fake_link import DEADLINE_S, INFO, FakeLine

#: Waits so short that a test need not wait for them.
QUICK = {"min_s": 0.01, "max_s": 0.01}


class FakeClock:
    """Stands still until it is moved on."""

    def __init__(self):
        self.mono_s = 100.0

    def __call__(self):
        return Stamp(self.mono_s, 1e9 + self.mono_s)


class Taker:
    """Takes a source's frames in a thread, as a lane does."""

    def __init__(self, source, clock):
        self.source = source
        self._clock = clock
        self.info = None
        self.error = None
        self._taken = queue.Queue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.info = self.source.open()
            for frame in self.source.frames():
                self._taken.put(frame)
        except SourceError as error:
            self.error = error

    def take(self, count):
        """Wait for so many frames."""
        return [self._taken.get(timeout=DEADLINE_S) for _ in range(count)]

    def later(self, seconds):
        """Move the clock on."""
        with self.source.link.changed:
            self._clock.mono_s += seconds
            self.source.link.changed.notify_all()

    def join(self):
        """Wait for the end."""
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    def wait_for(self, phase, why=""):
        """Wait until the source is in a phase."""
        deadline_s = time.monotonic() + DEADLINE_S
        with self.source.link.changed:
            while self.source.link.now.phase is not phase or why not in self.source.link.now.why:
                assert time.monotonic() < deadline_s, f"still {self.source.link.now}"
                self.source.link.changed.wait(0.01)


class FakePort:
    """A port that the connections of a line hold until it is taken back."""

    is_held = is_taken = True
    is_heard = False

    def hears(self):
        """True if the test says so."""
        return self.is_heard

    def take_back(self):
        """Nobody has it any more."""
        self.is_taken = False


@pytest.fixture
def live():
    """Give a function that starts a live source on a fake line; every one is closed in the end."""
    with contextlib.ExitStack() as stack:

        def start(line, clock=None, is_lasting=True, port=None, reconnect=QUICK, **settings):
            settings = SourceSettings(
                "rtsp://me:secret@door/live", reconnect=ReconnectSettings(**reconnect), **settings
            )
            more = {} if clock is None else {"clock": clock}
            source = LiveSource(settings, line.connect, is_lasting=is_lasting, port=port, **more)
            taker = Taker(source, clock)
            stack.callback(source.close)
            stack.callback(source.link.stop)
            return taker

        yield start


def test_a_lost_connection_is_followed_by_another(live):
    """Frames go on after a break, numbered on, in the next epoch, with times that never run backwards."""
    line = FakeLine()
    taker = live(line)
    first = line.next()
    first.feed(5000, 5040, 5080)
    frames = taker.take(3)
    first.end(LinkError("rtsp://door/live broke off: it was cut"))
    second = line.next()
    second.feed(0, 40)
    frames += taker.take(2)
    assert [(frame.key.source, frame.key.seq, frame.epoch) for frame in frames] == [
        ("door", 0, 0),
        ("door", 1, 0),
        ("door", 2, 0),
        ("door", 3, 1),
        ("door", 4, 1),
    ]
    times = [frame.pts_s for frame in frames]
    assert times[:3] == pytest.approx([0.0, 0.04, 0.08])
    assert times[4] - times[3] == pytest.approx(0.04)
    assert times == sorted(times)
    assert first.is_closed.wait(DEADLINE_S)
    assert taker.source.link.connections == 2


def test_an_end_is_followed_too(live):
    """A live stream that merely ends is connected again: cameras do so when they start anew."""
    line = FakeLine()
    taker = live(line)
    first = line.next()
    first.feed(0)
    taker.take(1)
    first.end()
    line.next().feed(0)
    assert taker.take(1)[0].epoch == 1


def test_offline_at_the_start(live):
    """A source that is not there is waited for, and told as backing off with the reason, never as failed."""
    line = FakeLine()
    taker = live(line, reconnect={"min_s": 60, "max_s": 60})
    line.next().end(LinkError("rtsp://door/live cannot be opened: Connection refused"))
    taker.wait_for(LinkPhase.BACKING_OFF, "Connection refused")
    taker.source.link.stop()
    taker.join()
    taker.source.close()
    assert (taker.source.link.now.phase, taker.source.link.now.why) == (LinkPhase.ENDED, "it was stopped")
    assert line.count == 1
    assert "gave no picture" in str(taker.error)


def test_a_wrong_password_waits_longest(live):
    """Who was refused waits the longest wait at once: cameras lock out those who try too often."""
    line = FakeLine()
    taker = live(line, clock=FakeClock(), reconnect={"min_s": 1, "max_s": 40})
    line.next().end(LinkError("user or password is wrong (401)", is_refusal=True))
    taker.wait_for(LinkPhase.BACKING_OFF, "(401)")
    taker.later(19)
    with pytest.raises(queue.Empty):
        line._made.get(timeout=0.2)
    taker.later(22)
    line.next().feed(0)
    assert taker.take(1)


def test_silence_is_told_and_then_given_up(live):
    """A silent connection is stalled after half of its patience, and given up after all of it, though it hangs."""
    line = FakeLine()
    taker = live(line, clock=FakeClock(), reconnect={"min_s": 0.01, "max_s": 0.01, "stall_s": 4})
    silent = line.next()
    silent.feed(0)
    taker.take(1)
    taker.wait_for(LinkPhase.LIVE)
    taker.later(2.5)
    taker.wait_for(LinkPhase.STALLED)
    taker.later(2)
    taker.wait_for(LinkPhase.BACKING_OFF, "nothing came for 4 s")
    taker.later(1)
    line.next().feed(0)
    assert taker.take(1)[0].epoch == 1
    assert not silent.is_closed.is_set()


def test_what_comes_in_pieces_may_be_silent(live):
    """A source that tells that it comes in pieces is not given up between two of them, however short `stall_s` is."""
    line = FakeLine(replace(INFO, silence_s=30.0))
    taker = live(line, clock=FakeClock(), reconnect={**QUICK, "stall_s": 4})
    slow = line.next()
    slow.feed(0)
    taker.take(1)
    taker.later(20)
    taker.wait_for(LinkPhase.STALLED)
    slow.feed(20_000)
    assert taker.take(1)[0].epoch == 0
    taker.later(31)
    taker.wait_for(LinkPhase.BACKING_OFF, "nothing came for 30 s")


def test_what_comes_after_a_silence_ends_it(live):
    """A connection that was merely stalled is live again without a new one."""
    line = FakeLine()
    taker = live(line, clock=FakeClock(), reconnect={**QUICK, "stall_s": 4})
    slow = line.next()
    slow.feed(0)
    taker.take(1)
    taker.later(2.5)
    taker.wait_for(LinkPhase.STALLED)
    slow.feed(2500)
    assert taker.take(1)[0].epoch == 0
    taker.wait_for(LinkPhase.LIVE)


def test_connections_that_hang_are_bounded(live):
    """With three readers that hang in a foreign library nothing more is tried until one of them comes back."""
    line = FakeLine()
    taker = live(line, clock=FakeClock(), reconnect={**QUICK, "connect_s": 1})
    hung = []
    for _ in range(3):
        hung.append(line.next())
        assert hung[-1].is_open.wait(DEADLINE_S)
        taker.later(1.5)
        taker.wait_for(LinkPhase.BACKING_OFF)
        taker.later(1)
    taker.wait_for(LinkPhase.BACKING_OFF, "3 earlier connections hang")
    assert line.count == 3
    hung[0].end(LinkError("at last"))
    line.next().feed(0)
    assert taker.take(1)


def test_who_waits_for_hung_connections_sleeps(live, monkeypatch):
    """While three readers hang, the source wakes twice a second, not a thousand times."""
    line = FakeLine()
    taker = live(line, clock=FakeClock(), reconnect={**QUICK, "connect_s": 1})
    for _ in range(3):
        assert line.next().is_open.wait(DEADLINE_S)
        taker.later(1.5)
        taker.wait_for(LinkPhase.BACKING_OFF)
        taker.later(1)
    taker.wait_for(LinkPhase.BACKING_OFF, "3 earlier connections hang")
    waits, looked = [], threading.Event()
    changed = taker.source.link.changed
    wait = changed.wait

    def note(seconds=None):
        waits.append(seconds)
        if len(waits) == 3:
            looked.set()
        return wait(seconds)

    monkeypatch.setattr(changed, "wait", note)
    taker.later(0)
    assert looked.wait(DEADLINE_S)
    assert waits[:3] == [0.5] * 3


def test_a_held_port_is_kept_through_a_silence(live):
    """A connection that holds a port of this host is stalled for as long as it is silent, and live again as it was."""
    line = FakeLine()
    taker = live(line, clock=FakeClock(), port=FakePort(), reconnect={**QUICK, "stall_s": 4})
    silent = line.next()
    silent.feed(0)
    taker.take(1)
    taker.later(60)
    taker.wait_for(LinkPhase.STALLED)
    silent.feed(60_000)
    assert (taker.take(1)[0].epoch, line.count) == (0, 1)
    taker.wait_for(LinkPhase.LIVE)


def test_a_port_is_let_go_before_it_is_taken_again(live):
    """After a connection that holds a port and hangs, none is tried until the port is taken from it."""
    line, port = FakeLine(), FakePort()
    taker = live(line, clock=FakeClock(), port=port, reconnect={**QUICK, "connect_s": 1})
    hung = line.next()
    assert hung.is_open.wait(DEADLINE_S)
    taker.later(1.5)
    taker.wait_for(LinkPhase.BACKING_OFF)
    taker.later(0.5)
    taker.wait_for(LinkPhase.BACKING_OFF, "the earlier connection lets go of its port")
    assert (line.count, port.is_taken) == (1, True)
    taker.later(1)
    line.next().feed(0)
    assert (taker.take(1)[0].epoch, port.is_taken) == (0, False)
    hung.end(LinkError("nothing came"))


def test_a_held_port_at_which_other_things_come(live):
    """A connection that gives nothing although its sender goes on is given up like one of any other kind."""
    line, port = FakeLine(), FakePort()
    taker = live(line, clock=FakeClock(), port=port, reconnect={**QUICK, "stall_s": 4})
    deaf = line.next()
    deaf.feed(0)
    taker.take(1)
    port.is_heard = True
    taker.later(5)
    taker.wait_for(LinkPhase.BACKING_OFF, "nothing came for 4 s")
    taker.later(2)
    line.next().feed(0)
    assert taker.take(1)[0].epoch == 1
    deaf.end()


def test_a_stop_does_not_wait_for_the_source(live):
    """Whoever waits for a frame waits no longer than the stop, although the connection hangs."""
    line = FakeLine()
    taker = live(line)
    hanging = line.next()
    assert hanging.is_open.wait(DEADLINE_S)
    taker.source.link.stop()
    taker.join()
    assert not hanging.is_closed.is_set()
    hanging.end(LinkError("at last"))
    assert hanging.is_closed.wait(DEADLINE_S)


def test_pause_and_resume(live):
    """A paused source drops its connection after what had come, and resumed has another one in the next epoch."""
    line = FakeLine()
    taker = live(line)
    first = line.next()
    first.feed(0, 40)
    taker.take(2)
    taker.source.link.pause()
    taker.wait_for(LinkPhase.PAUSED)
    first.feed(80)
    assert first.is_closed.wait(DEADLINE_S)
    taker.source.link.resume()
    line.next().feed(0)
    frame = taker.take(1)[0]
    assert (frame.key.seq, frame.epoch) == (2, 1)


def test_the_newest_wins_and_the_others_are_told():
    """Frames that nobody took in time have no picture, a reason and a number; the newest has its picture."""
    line = FakeLine(replace(INFO, keeps_newest=True))
    source = LiveSource(SourceSettings("rtsp://door/live"), line.connect)
    taker = threading.Thread(target=source.open, daemon=True)
    taker.start()
    connection = line.next()
    connection.feed(0)
    taker.join(DEADLINE_S)
    connection.feed(40, 80, 120)
    connection.end()
    mailbox = source._attempt.reader.mailbox
    with source.link.changed:
        source.link.changed.wait_for(lambda: mailbox.has_ended, DEADLINE_S)
    frames = source.frames()
    taken = [next(frames) for _ in range(4)]
    assert [frame.key.seq for frame in taken] == [0, 1, 2, 3]
    assert [frame.picture is not None for frame in taken] == [True, False, False, True]
    assert [frame.lost for frame in taken[1:3]] == [Reason.NEWER] * 2
    source.close()


@pytest.mark.parametrize("is_lasting", [True, False])
def test_what_can_never_be(live, is_lasting):
    """An unknown protocol is a failure, and so is any trouble of what is read once."""
    line = FakeLine()
    taker = live(line, is_lasting=is_lasting)
    line.next().end(LinkError("Protocol not found", is_final=is_lasting))
    taker.join()
    assert str(taker.error) == "Protocol not found"
    assert taker.source.link.now.phase is LinkPhase.FAILED


def test_a_recording_behind_an_address_ends(live):
    """What turns out to be a recording keeps its times and epoch, and its end is the end."""
    line = FakeLine(replace(INFO, is_live=False, frame_count=2, duration_s=0.08))
    taker = live(line)
    connection = line.next()
    connection.feed(700, 740)
    connection.end()
    frames = taker.take(2)
    taker.join()
    assert [(frame.pts, frame.epoch) for frame in frames] == [(700, 0), (740, 0)]
    assert (taker.info.is_live, taker.info.frame_count, taker.error) == (False, 2, None)
    assert line.count == 1


def test_a_limit_counts_all_connections(live):
    """As many frames are taken as were wanted altogether."""
    line = FakeLine()
    taker = live(line, max_frames=3)
    first = line.next()
    first.feed(0, 40)
    first.end()
    line.next().feed(0, 40)
    assert [frame.key.seq for frame in taker.take(3)] == [0, 1, 2]
    taker.join()
    assert taker.source.link.now.phase is LinkPhase.ENDED


def test_a_dead_source_is_logged_once(live, caplog):
    """A camera that stays away is one line in the log, and its password is in none."""
    caplog.set_level(logging.INFO, "posestream")
    line = FakeLine()
    live(line)
    for _ in range(5):
        line.next().end(LinkError("rtsp://me:secret@door/live cannot be opened: Connection refused"))
    line.next().feed(0)
    told = [record for record in caplog.records if hasattr(record, "fields")]
    assert (told[0].name, told[0].levelname) == (ABSENCES, "WARNING")
    assert [record.fields["state"] for record in told][:1] == ["backing off"]
    assert sum(record.fields["state"] == "backing off" for record in told) == 1
    assert "secret" not in caplog.text
    assert "door is backing off: rtsp://door/live cannot be opened: Connection refused" in caplog.text


def test_who_never_answers_is_told_soon(live, caplog):
    """A host that says nothing at all is told long before it is given up, once, without its password."""
    caplog.set_level(logging.INFO, "posestream")
    line = FakeLine()
    taker = live(line, FakeClock(), reconnect={"min_s": 0.01, "max_s": 0.01, "connect_s": 10.0})
    first = line.next()
    assert first.is_open.wait(DEADLINE_S)
    taker.later(3.0)
    deadline_s = time.monotonic() + DEADLINE_S
    while not caplog.records:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    taker.later(7.0)
    taker.wait_for(LinkPhase.BACKING_OFF, "did not connect")
    told = [record.getMessage() for record in caplog.records if record.name == ABSENCES]
    assert told == ["door is not there yet: rtsp://door/live does not answer"]
