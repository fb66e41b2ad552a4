"""The first half of a lane: when it takes the next frame off its source."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import zmq

from posestream.pipeline.lane.intake import DecodeLoop
from posestream.pipeline.lane.state import LaneState
from posestream.stages.color import ColorTags
from posestream.stages.source.opening import SourceInfo, SourceSettings, open_source

from .test_store import frame

_INFO = SourceInfo(
    name="door",
    width=6,
    height=4,
    rate=Fraction(10),
    frame_count=None,
    duration_s=None,
    is_live=True,
    time_base=Fraction(1, 10),
    path=None,
    sample_aspect_ratio=None,
    color=ColorTags.of_size(6, 4),
    keeps_newest=True,
)


@pytest.mark.parametrize("max_age_s", [30.0, None])
def test_a_frame_that_may_become_old_is_replaced_soon(max_age_s: float | None) -> None:
    """However old frames may become, a newer one is taken long before a quarter of that age."""
    lane = LaneState(4)
    lane.begin(replace(_INFO, max_age_s=max_age_s), 0)
    with zmq.Context() as context, open_source(SourceSettings("rtsp://door/live")) as source:
        loop = DecodeLoop(context, "inproc://frames", source, lane)
        lane.store.put(frame(0))
        assert loop._has_room(timeout_s=5.0)
