"""Files at their own speed."""

from __future__ import annotations

import pytest

from posestream.stages.source.paced import PacedSource
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp
from posestream.stages.source.video import VideoFileSource


class Clock:
    """Moves on when somebody waits."""

    def __init__(self):
        self.at_s = 50.0

    def __call__(self):
        return Stamp(self.at_s, 1e9 + self.at_s)

    def wait(self, seconds):
        """Let time pass."""
        self.at_s += seconds


@pytest.fixture
def paced(media, tmp_path):
    """Give a file of half a second, and its clock."""
    settings = SourceSettings(str(media.write_video(tmp_path / "clip.mp4", media.numbered(5))))
    clock = Clock()
    return PacedSource(VideoFileSource(settings), settings, clock, clock.wait), clock


def test_each_frame_at_its_time(paced):
    """Frames come as far apart as their times are, and are stamped when they come."""
    source, _ = paced
    with source:
        info = source.open()
        captured = [frame.captured_mono_s for frame in source.frames()]
    assert captured == pytest.approx([50.0, 50.1, 50.2, 50.3, 50.4])
    assert (info.is_live, info.keeps_newest, info.max_age_s, info.frame_count) == (True, True, 0.5, 5)


def test_who_is_late_gets_them_at_once(paced):
    """Frames whose time has passed are not waited for, and those after them keep to the first one's time."""
    source, clock = paced
    with source:
        source.open()
        frames = source.frames()
        next(frames)
        clock.at_s += 0.25
        captured = [frame.captured_mono_s for frame in frames]
    assert captured == pytest.approx([50.25, 50.25, 50.3, 50.4])
