"""Real processes are killed, stopped, cut off and shouted at, each fault once; `bench faults` does it more often."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from posestream.pipeline.bench.faults import FAULTS, FaultsPlan, run_faults
from posestream.pipeline.bench.program import Program

#: Some at the same time, for each of them waits some of the time: for silence to be noticed, for processes that load.
PLAN = FaultsPlan(runs=1, frames=100, service_ms=40.0, messages=1000, jobs=4)


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """Run all faults once for all tests."""
    if sys.platform != "linux":
        pytest.skip("processes are found in /proc, which only Linux has")
    return {result["fault"]: result for result in run_faults(PLAN)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_leaves_the_result_as_it_is_and_nothing_behind(results: dict[str, dict[str, Any]], fault: str) -> None:
    """The messages are those of an undisturbed run, and no process, socket file or shared memory is left."""
    assert results[fault]["wrong"] == []
    assert results[fault]["identical"] >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc, which only Linux has")
def test_a_process_that_is_not_there_is_told_with_what_its_head_said(tmp_path: Path) -> None:
    """Whoever waits for a lane of a head that has ended is told how it ended and why."""
    with Program(tmp_path, "run", "nowhere.mp4") as head:
        head.wait(60.0)
        with pytest.raises(RuntimeError, match=r"ended with 3.*nowhere\.mp4"):
            head.wait_for_children("lane", 60.0)
