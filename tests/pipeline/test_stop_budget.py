"""What a stop of live sources waits for leaves time for the rest of it."""

from __future__ import annotations

from posestream.pipeline.dispatch.settings import DispatcherSettings
from posestream.pipeline.lane.state import _LEAVE_S

#: Within so many seconds a run of live sources ends.
_PROMISED_S = 2.0
#: So long it takes to hear of the stop, to write, to join and to leave, with a load of eight a core.
_REST_S = 0.9


def test_a_stop_has_time_for_more_than_waiting() -> None:
    """Neither an engine nor a source is waited for so long that the run could not end within its two seconds."""
    assert max(DispatcherSettings().live_stop_s, _LEAVE_S) + _REST_S <= _PROMISED_S
