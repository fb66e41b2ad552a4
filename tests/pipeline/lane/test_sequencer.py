"""Order per source."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posestream.pipeline.lane.sequencer import Sequencer


@given(st.permutations(range(12)), st.integers(0, 5), st.lists(st.integers(0, 16), max_size=10))
def test_every_item_comes_once_and_in_order(order: list[int], first: int, again: list[int]) -> None:
    """Whatever the order of arrival, items come out from the first seq on, once each, as early as they can."""
    sequencer: Sequencer[str] = Sequencer(first)
    out, arrived = [], set()
    for seq in order:
        arrived.add(first + seq)
        out += list(sequencer.push(first + seq, str(first + seq)))
        ready = next(n for n in range(first, first + 13) if n not in arrived)
        assert out == [str(n) for n in range(first, ready)]
        assert sequencer.is_empty == (len(out) == len(arrived))
    for seq in again:
        if seq < first + 12:
            assert list(sequencer.push(seq, "double")) == []


def test_the_first_of_doubles_counts() -> None:
    """An item that waits is not replaced by another one of the same seq."""
    sequencer: Sequencer[str] = Sequencer()
    assert list(sequencer.push(1, "first")) == []
    assert list(sequencer.push(1, "second")) == []
    assert list(sequencer.push(0, "zero")) == ["zero", "first"]


def test_its_repr_tells_what_it_waits_for() -> None:
    """A debugger sees the next seq and those that came early."""
    sequencer: Sequencer[str] = Sequencer()
    assert list(sequencer.push(3, "")) == []
    assert list(sequencer.push(1, "")) == []
    assert repr(sequencer) == "<Sequencer next=0 early=[1, 3]>"
