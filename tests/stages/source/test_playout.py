"""What comes in pieces of several seconds, played out at its own speed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise

import pytest

from posestream.stages.source.decode import Decoded
from posestream.stages.source.playout import played_out
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp
from posestream.stages.source.stream import StreamSource

from .quiet_files import QuietFiles


@dataclass
class Clock:
    """Moves on when somebody waits."""

    at_s: float = 50.0

    def __call__(self):
        return Stamp(self.at_s, 1e9 + self.at_s)

    def wait(self, seconds):
        """Let time pass."""
        self.at_s += seconds


def times(clock, *pieces):
    """Give when frames are given that come in pieces: what is told by each of them, after how long it comes."""

    def frames():
        for after_s, told in pieces:
            clock.at_s += after_s
            for pts in told:
                yield Decoded(object(), 0, clock(), pts)

    return [decoded.captured.mono_s for decoded in played_out(frames(), 0.1, clock, clock.wait)]


def test_a_piece_is_played_at_its_own_speed():
    """Frames that come at once are given as far apart as their times are, stamped when they are given."""
    assert times(Clock(), (0, range(5, 9)), (0, range(9, 11))) == pytest.approx([50.0, 50.1, 50.2, 50.3, 50.4, 50.5])


def test_a_late_piece_moves_all_that_follow():
    """A piece that comes late is given at once, and its frames keep their distances."""
    assert times(Clock(), (0, [0, 1]), (3.0, [2, 3])) == pytest.approx([50.0, 50.1, 53.1, 53.2])


@pytest.mark.parametrize("next_pts", [900, 2, None])
def test_a_jump_is_not_waited_for(next_pts):
    """A gap, a clock that jumps and a frame without a time are no reason to wait."""
    assert times(Clock(), (0, [100, 101, next_pts]))[-1] == pytest.approx(50.1)


def test_live_hls_is_played_out(media, tmp_path, serve):
    """A playlist that has no end is given at its own speed though it is there at once, and may be silent for long."""
    muxing = {"hls_time": "0.4", "hls_list_size": "0", "hls_flags": "omit_endlist"}
    media.write_video(tmp_path / "live.m3u8", media.numbered(16), options={"g": "4", "bf": "0"}, muxing=muxing)
    address = serve(partial(QuietFiles, directory=str(tmp_path)))
    with StreamSource(SourceSettings(f"http://{address}/live.m3u8")) as source:
        info = source.open()
        frames = list(islice(source.frames(), 10))
    assert (info.is_live, info.silence_s) == (True, 30.0)
    steps = [after.captured_mono_s - before.captured_mono_s for before, after in pairwise(frames)]
    assert sum(steps) >= 0.85
    assert max(steps) < 0.9 * sum(steps)
