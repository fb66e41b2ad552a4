"""What others say never goes beyond our own bounds, and what never began can be ended."""

from __future__ import annotations

from posestream.pipeline.dispatch.dispatcher import Dispatcher, DispatcherSettings
from posestream.pipeline.supervision.part import Part


def test_a_replicas_credits_are_bounded() -> None:
    """A replica that asks for a million frames is given no more than a replica can hold."""
    dispatcher = Dispatcher(DispatcherSettings())
    dispatcher.replica_joined("greedy", 10**6, 0.0)
    assert dispatcher.credits == 256


def test_a_part_that_never_began_has_ended() -> None:
    """Joining a thread that was never started is no error: whatever kept it from starting is what is told."""
    assert Part("idle", lambda: None, lambda: None).join(0.0)
