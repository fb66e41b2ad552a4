"""What `bench faults` does to who listens over TCP: floods with pings that end in resets; the head must live on."""

from __future__ import annotations

import signal

from posestream.pipeline.bench.fuzzer import fuzz_resets
from posestream.pipeline.bench.ports import free_ports
from posestream.pipeline.bench.program import Program
from posestream.pipeline.bench.scene import PATIENCE_S, SYNTHETIC, FaultRun, synthetic_differences
from posestream.pipeline.errors import ExitCode

__all__ = ["sockets_reset"]

#: Connections to each address; a head that can be ended by them is ended by the first ten.
_CONNECTIONS = 80


def sockets_reset(run: FaultRun) -> str:
    """Reset connections to every address that a head can listen at, while it works."""
    listen, publish, replay, status = (f"tcp://127.0.0.1:{port}" for port in free_ports(4))
    tables = (f'publish.replay=["{replay}"]', f'pipeline.status=["{status}"]')
    more = ["--listen", listen, "--publish", publish, *(word for table in tables for word in ("--set", table))]
    kinds = {listen: "DEALER", replay: "DEALER", publish: "SUB", status: "SUB"}
    with Program(run.folder, *run.scene.words(run.output, *more, source=SYNTHETIC)) as head:
        trouble = run.wait_for_results(head)
        if trouble:
            return trouble
        for address, kind in kinds.items():
            try:
                flooded = fuzz_resets(address, _CONNECTIONS, run.rng.randrange(1 << 30), kind=kind)
            except OSError as error:
                return f"{address} ({kind}): {error}: {' / '.join(head.errors[-3:])}"
            if flooded != _CONNECTIONS or not head.is_running:
                return f"{address} ({kind}) ended it: {' / '.join(head.errors[-3:])}"
        head.signal(signal.SIGTERM)
        ended = head.wait(PATIENCE_S)
        if ended != ExitCode.DONE:
            return f"exit code {ended}: {' / '.join(head.errors[-3:])}"
        wrong = [synthetic_differences(run.scene, run.output), *head.wait_until_gone(), *head.left_files()]
        return "; ".join(text for text in wrong if text)
