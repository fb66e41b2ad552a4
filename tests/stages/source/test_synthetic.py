"""The synthetic source: frames without a file, the same in every run."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from posestream.stages.errors import SettingsError
from posestream.stages.source.opening import SourceSettings, open_source
from posestream.stages.source.synthetic import SyntheticSource


def frames_of(url: str, **part: float) -> list:
    """Open an address as the pipeline does, and give its frames."""
    with open_source(SourceSettings(url, **part)) as source:
        source.open()
        return list(source.frames())


def test_it_tells_its_size_rate_and_length():
    """The address says how large and how many the frames are, and at what rate their times run."""
    with open_source(SourceSettings("synthetic:456x256@25x10")) as source:
        assert isinstance(source, SyntheticSource)
        info = source.open()
        frames = list(source.frames())
    assert (source.name, source.is_live) == ("synthetic-456x256-25x10", False)
    assert (info.width, info.height, info.rate, info.frame_count) == (456, 256, 25, 10)
    assert [frame.key.seq for frame in frames] == list(range(10))
    assert [frame.pts_s for frame in frames] == [seq / 25 for seq in range(10)]
    assert {(frame.width, frame.height, frame.picture.bgr().shape) for frame in frames} == {(456, 256, (256, 456, 3))}


def test_without_a_number_it_never_ends():
    """Without a number of frames it goes on, beyond the point where the stripes repeat."""
    with open_source(SourceSettings("synthetic:64x64")) as source:
        assert source.open().frame_count is None
        assert [frame.key.seq for frame in islice(source.frames(), 600)] == list(range(600))


def test_a_part_of_it_can_be_read():
    """A start skips frames and a limit cuts the end, as with a video."""
    whole = frames_of("synthetic:64x64@10x20")
    part = frames_of("synthetic:64x64@10x20", start_s=0.5, max_frames=4)
    assert [frame.pts_s for frame in part] == [0.5, 0.6, 0.7, 0.8]
    assert [frame.key.seq for frame in part] == [0, 1, 2, 3]
    for frame, same in zip(part, whole[5:], strict=False):
        np.testing.assert_array_equal(frame.picture.bgr(), same.picture.bgr())
    assert len(frames_of("synthetic:64x64@10x20", start_s=1.5)) == 5
    assert frames_of("synthetic:64x64@10x20", start_s=2.0) == []


@pytest.mark.parametrize("size", ["64x64", "456x256", "1281x7"])
def test_every_frame_is_another_in_its_middle_row(size):
    """Within 256 frames no middle row comes twice, and a second reading gives the same frames."""
    rows = [frame.picture.bgr()[frame.height // 2].tobytes() for frame in frames_of(f"synthetic:{size}x256")]
    assert len(set(rows)) == 256
    assert rows == [frame.picture.bgr()[frame.height // 2].tobytes() for frame in frames_of(f"synthetic:{size}x256")]


@pytest.mark.parametrize("url", ["synthetic:", "synthetic:64", "synthetic:0x64", "synthetic:64x64x", "synthetic:ax3"])
def test_other_addresses_are_refused(url):
    """What begins like these addresses and is none is refused with how to write it."""
    with pytest.raises(SettingsError, match="write synthetic:WIDTHxHEIGHT"):
        open_source(SourceSettings(url))
