"""Real processes are killed, stopped, cut off and shouted at, a tenth as often as `bench faults` does it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from posestream.pipeline.bench.faults import FAULTS, FaultsPlan, run_faults

#: Many at the same time, for most of them wait most of the time.
PLAN = FaultsPlan(runs=2, frames=150, service_ms=8.0, messages=1000, jobs=6)


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
