"""Pauses of what cannot be connected again: its reader stands still, and nothing is lost or given twice."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from posestream.stages.source.link_state import LinkPhase
from posestream.stages.source.live import LiveSource
from posestream.stages.source.opening import open_source
from posestream.stages.source.paced import PacedSource
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp
from posestream.stages.source.video import VideoFileSource

from .fake_link import DEADLINE_S, INFO, FakeLine
from .test_live import FakeClock, Taker


@pytest.fixture
def held():
    """Give a function that starts a source which is connected once, on a fake line, and one of its frames taken."""
    sources = []

    def start(info, *, is_lasting=False):
        line, clock = FakeLine(info), FakeClock()
        source = LiveSource(SourceSettings("http://door/clip"), line.connect, is_lasting=is_lasting, clock=clock)
        sources.append(source)
        taker, connection = Taker(source, clock), line.next()
        connection.feed(0)
        taker.take(1)
        return taker, connection, line

    yield start
    for source in sources:
        source.link.stop()
        source.close()


@pytest.mark.parametrize("is_lasting", [False, True])
def test_a_recording_waits(held, is_lasting):
    """A recording is not given up while it is paused, also where it was not known to be one: all its frames come."""
    taker, connection, line = held(replace(INFO, is_live=False), is_lasting=is_lasting)
    taker.source.link.pause()
    taker.wait_for(LinkPhase.PAUSED)
    connection.feed(*range(40, 800, 40))
    connection.end()
    assert taker._taken.empty()
    assert not connection.is_closed.is_set()
    taker.source.link.resume()
    assert [frame.pts for frame in taker.take(19)] == list(range(40, 800, 40))
    taker.join()
    assert (taker.error, line.count, taker.source.link.now.phase) == (None, 1, LinkPhase.ENDED)


def test_what_comes_in_a_pause_is_read_after_it(held):
    """A live stream that cannot be connected again is read on after a pause, and its frames are as young as then."""
    taker, connection, line = held(INFO)
    taker.source.link.pause()
    taker.wait_for(LinkPhase.PAUSED)
    connection.feed(40)
    taker.later(60)
    taker.source.link.resume()
    frame = taker.take(1)[0]
    assert (frame.captured_mono_s, frame.epoch, line.count) == (160.0, 0, 1)
    taker.wait_for(LinkPhase.LIVE)


def test_a_silent_source_is_paused_no_more(held):
    """Who is resumed and gives nothing yet is told as live again, not as paused."""
    taker, _, _ = held(replace(INFO, is_live=False))
    taker.source.link.pause()
    taker.wait_for(LinkPhase.PAUSED)
    taker.source.link.resume()
    taker.wait_for(LinkPhase.LIVE)


def test_a_reader_that_is_held_ends_with_its_source(held):
    """A stop in a pause leaves no reader behind."""
    taker, connection, _ = held(INFO)
    taker.source.link.pause()
    taker.wait_for(LinkPhase.PAUSED)
    connection.feed(40)
    taker.source.link.stop()
    taker.join()
    taker.source.close()
    assert connection.is_closed.wait(DEADLINE_S)


class PausingClock:
    """Moves on when somebody waits; in the second wait there is a pause of ten seconds."""

    def __init__(self):
        self.at_s, self.held_s, self.waits = 50.0, 0.0, 0

    def __call__(self):
        return Stamp(self.at_s, 1e9 + self.at_s, self.held_s)

    def wait(self, seconds):
        """Let time pass."""
        self.waits += 1
        if self.waits == 2:
            self.at_s, self.held_s = self.at_s + 10.0, self.held_s + 10.0
        else:
            self.at_s += seconds


@pytest.fixture
def clip(media, tmp_path):
    """Write half a second of video."""
    return str(media.write_video(tmp_path / "clip.mp4", media.numbered(5)))


def test_a_played_file_goes_on_at_its_own_speed(clip):
    """After a pause the frames of a file that is played keep their distances, the next one too."""
    settings, clock = SourceSettings(clip), PausingClock()
    with PacedSource(VideoFileSource(settings), settings, clock, clock.wait) as source:
        source.open()
        captured = [frame.captured_mono_s for frame in source.frames()]
    assert captured == pytest.approx([50.0, 60.1, 60.2, 60.3, 60.4])


def test_a_played_file_stands_while_it_is_paused(clip):
    """A file that is paused in mid-play gives each of its frames once, with the file's own times."""
    settings = SourceSettings(clip, realtime=True, policy="every-frame")
    with open_source(settings) as source:
        source.open()
        source.link.pause()
        timer = threading.Timer(0.6, source.link.resume)
        timer.start()
        frames = list(source.frames())
        timer.join()
    assert [(frame.key.seq, frame.epoch) for frame in frames] == [(seq, 0) for seq in range(5)]
    assert [frame.pts_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert frames[4].captured_mono_s - frames[0].captured_mono_s > 0.8


def test_a_played_file_keeps_its_times(clip):
    """The time of a frame is the file's, whether the file is played or read as fast as it goes."""
    for realtime in (True, False):
        with open_source(SourceSettings(clip, realtime=realtime, start_s=0.2)) as source:
            source.open()
            assert [frame.pts_s for frame in source.frames()] == pytest.approx([0.2, 0.3, 0.4])


@pytest.mark.parametrize(("passed", "limit", "left"), [(3, None, [0.3, 0.4]), (5, None, []), (3, 4, [0.3])])
def test_a_played_file_goes_on(clip, passed, limit, left):
    """A file that is played goes on behind the frames that an earlier process took; maybe all."""
    with open_source(SourceSettings(clip, realtime=True, max_frames=limit), passed) as source:
        source.open()
        assert [frame.pts_s for frame in source.frames()] == pytest.approx(left)
