"""The rule of a lane's outputs: one that fails is left out, the others go on."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from posestream.pipeline.lane.sinks import OutputFailures, Sinks
from posestream.stages.errors import OutputError
from posestream.stages.source.opening import SourceInfo

INFO = cast(SourceInfo, SimpleNamespace(name="door", rate=Fraction(10)))


class FakeSink:
    """Notes its calls and fails where told."""

    def __init__(self, name: str, fails_at: str = "") -> None:
        self.name = name
        self.paths = (Path(name),)
        self.calls: list[str] = []
        self._fails_at = fails_at

    def open(self, info: SourceInfo) -> None:
        self.call("open")

    def write(self) -> None:
        self.call("write")

    def close(self) -> None:
        self.call("close")

    def call(self, what: str) -> None:
        self.calls.append(what)
        if what == self._fails_at:
            raise OutputError(f"cannot {what} {self.name}")


class Stops:
    """Counts how often a lane was told to stop."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


def run(*sinks: FakeSink) -> tuple[Sinks[FakeSink], OutputFailures, Stops]:
    """Open, write twice, close."""
    stops = Stops()
    failures = OutputFailures(len(sinks), stops)
    lane_sinks = Sinks(sinks, failures)
    lane_sinks.open(INFO)
    for _ in range(2):
        lane_sinks.write(lambda sink: sink.write())
    lane_sinks.close()
    return lane_sinks, failures, stops


def test_without_failures_every_call_reaches_every_output() -> None:
    """Outputs are opened once, written to in order and closed."""
    first, second = FakeSink("a"), FakeSink("b")
    sinks, failures, stops = run(first, second)
    assert first.calls == second.calls == ["open", "write", "write", "close"]
    assert (failures.errors, stops.count) == ([], 0)
    assert sinks.paths == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("at", "calls"),
    [("open", ["open", "close"]), ("write", ["open", "write", "close"])],
)
def test_an_output_that_fails_is_closed_and_left_out(
    at: str, calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """After a failure only `close` is called; the others go on, and it is reported once, in one line."""
    bad, good = FakeSink("bad", at), FakeSink("good")
    with caplog.at_level(logging.ERROR):
        sinks, failures, stops = run(bad, good)
    assert bad.calls == calls
    assert good.calls == ["open", "write", "write", "close"]
    assert [str(error) for error in failures.errors] == [f"cannot {at} bad"]
    assert len(caplog.records) == 1
    assert stops.count == 0
    assert repr(sinks) == "<Sinks ['good'] of 2>"
    assert sinks.paths == (Path("bad"), Path("good"))


def test_the_last_output_that_fails_stops_the_lane() -> None:
    """When no output is left there is nothing to work for; the stop is called once."""
    _, failures, stops = run(FakeSink("a", "open"), FakeSink("b", "write"))
    assert len(failures.errors) == 2
    assert stops.count == 1


def test_outputs_of_two_threads_count_together() -> None:
    """A lane goes on while its renderer's outputs work, even if all the others failed."""
    stops = Stops()
    failures = OutputFailures(2, stops)
    plain, pictures = Sinks([FakeSink("a", "open")], failures), Sinks([FakeSink("b", "write")], failures)
    plain.open(INFO)
    pictures.open(INFO)
    assert stops.count == 0
    pictures.write(lambda sink: sink.write())
    assert stops.count == 1


def test_a_failure_at_closing_is_told_too() -> None:
    """What could not be written at the end is an error of the run."""
    _, failures, _ = run(FakeSink("late", "close"), FakeSink("good"))
    assert [str(error) for error in failures.errors] == ["cannot close late"]


def test_failing_again_at_closing_is_no_news() -> None:
    """An output that failed and cannot be closed either is reported once."""

    class Broken(FakeSink):
        def call(self, what: str) -> None:
            self.calls.append(what)
            if what != "open":
                raise OutputError(f"cannot {what}")

    broken = Broken("broken")
    _, failures, _ = run(broken, FakeSink("good"))
    assert broken.calls == ["open", "write", "close"]
    assert len(failures.errors) == 1


def test_what_was_never_opened_is_not_closed() -> None:
    """A source without frames leaves its outputs untouched."""
    sink = FakeSink("a")
    Sinks([sink], OutputFailures(1, Stops())).close()
    assert sink.calls == []


def test_opening_again_does_nothing() -> None:
    """The outputs' thread may open with every frame."""
    sink = FakeSink("a")
    sinks = Sinks([sink], OutputFailures(1, Stops()))
    sinks.open(INFO)
    sinks.open(INFO)
    assert sink.calls == ["open"]


def test_a_bug_in_an_output_is_not_taken_for_its_failure() -> None:
    """Only output errors are told as such; anything else is let through."""

    class Buggy(FakeSink):
        def write(self) -> None:
            raise ZeroDivisionError

    sinks = Sinks([Buggy("a")], OutputFailures(1, Stops()))
    sinks.open(INFO)
    with pytest.raises(ZeroDivisionError):
        sinks.write(lambda sink: sink.write())


def test_a_file_that_took_nothing_is_not_left_behind(tmp_path: Path) -> None:
    """An output that fails before its first byte leaves no empty file, one that fails later what it has."""
    empty, begun = tmp_path / "empty.jsonl", tmp_path / "begun.jsonl"
    empty.touch()
    begun.write_text("{}", "utf-8")
    outputs = [FakeSink("one", "write"), FakeSink("two", "write")]
    outputs[0].paths, outputs[1].paths = (empty,), (begun,)
    sinks = Sinks(outputs, OutputFailures(2, lambda: None))
    sinks.open(INFO)

    sinks.write(lambda sink: sink.write())

    assert list(tmp_path.iterdir()) == [begun]
