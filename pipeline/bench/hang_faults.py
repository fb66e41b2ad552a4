"""What `bench faults` does to an engine: one of its inferences never ends, and its replica must be replaced."""

from __future__ import annotations

import signal
import time

from posestream.pipeline.bench.program import Program
from posestream.pipeline.bench.scene import PATIENCE_S, SYNTHETIC, FaultRun, synthetic_differences

__all__ = ["engine_hung"]

#: An inference that takes so much longer than ten times the longest before hangs, in seconds.
_HANG_S = 2.0
#: Replicas at the beginning.
_REPLICAS = 2
#: How often the processes are looked at, in seconds.
_TICK_S = 0.05


def engine_hung(run: FaultRun) -> str:
    """Let one of two engines hang while the other one works, until its replica was replaced."""
    service_ms, maps = run.scene.device.removeprefix("simulated:").split(":", 1)
    hanging = f"simulated:{service_ms}@{run.rng.randint(5, 50)}:{maps}"
    devices = f'replicas.devices=["{run.scene.device}", "{hanging}"]'
    more = ["--set", devices, "--set", f"replicas.hang_s={_HANG_S:g}"]
    # Its source has no end: the other one would be done with all frames before a successor is there.
    with Program(run.folder, *run.scene.words(run.output, *more, source=SYNTHETIC, replicas=1)) as head:
        replicas: set[int] = set()
        deadline_s = time.monotonic() + PATIENCE_S
        while len(replicas) <= _REPLICAS:
            if not head.is_running or time.monotonic() > deadline_s:
                return f"no replica was replaced: {' / '.join(head.errors[-3:])}"
            replicas.update(head.children("replica"))
            time.sleep(_TICK_S)
        head.signal(signal.SIGTERM)
        return run.outcome(head, synthetic_differences)
