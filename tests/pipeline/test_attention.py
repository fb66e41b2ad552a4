"""The clock that goes only while somebody listens."""

from __future__ import annotations

import pytest

from posestream.pipeline.attention import Attention


def test_it_goes_while_somebody_looks() -> None:
    """Whoever looks often counts all the time between the first look and the last."""
    attention = Attention()
    for tick in range(101):
        attention.look(1000.0 + tick / 20)
    assert attention.seconds == pytest.approx(5.0)


def test_it_stands_while_nobody_looks() -> None:
    """However long nobody has looked, little is counted."""
    attention = Attention()
    attention.look(1000.0)
    attention.look(5000.0)
    assert attention.seconds <= 0.5
