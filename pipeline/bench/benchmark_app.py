"""OpenVINO's own benchmark tool on the same network, as a process of its own: what the engine is compared with."""

from __future__ import annotations

import re
import subprocess
import sys

from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec, TensorLayout
from posestream.models.weights import Weights

__all__ = ["benchmark_app_fps"]

#: How long it measures, in seconds.
_SECONDS = 6
#: How long it may take in all, in seconds.
_DEADLINE_S = 120.0
#: Runs the tool without OpenVINO's model converter, which reports its import to a statistics server.
_PROGRAM = (
    "import sys; sys.modules['openvino.tools.ovc'] = None; import openvino; del sys.modules['openvino.tools.ovc']; "
    "from openvino.tools.benchmark.main import main; sys.exit(main())"
)
_THROUGHPUT = re.compile(r"Throughput:\s*([0-9.]+) FPS")
_LATENCY = re.compile(r"Median:\s*([0-9.]+) ms")


def benchmark_app_fps(
    spec: NetworkSpec, weights: Weights, precision: str, height: int, width: int
) -> tuple[float, float]:
    """Give the tool's frames a second, and the median latency under that load in milliseconds.

    It runs with the hint that the engine uses (throughput), the same size, and uint8 pictures.

    Raises:
        EngineError: the tool failed.
    """
    is_nhwc = spec.input.layout is TensorLayout.NHWC
    shape = [1, height, width, 3] if is_nhwc else [1, 3, height, width]
    words = ["-m", str(weights.paths[0]), "-d", "CPU", "-hint", "throughput", "-t", str(_SECONDS), "-ip", "u8"]
    words += ["-shape", str(shape), "-layout", f"[{spec.input.layout.upper()}]"]
    words += ["-infer_precision", precision] if precision != "auto" else []
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROGRAM, *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"OpenVINO's benchmark tool did not end within {_DEADLINE_S:g} s") from error
    fps, latency = _THROUGHPUT.search(done.stdout), _LATENCY.search(done.stdout)
    if done.returncode or fps is None or latency is None:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise EngineError(f"OpenVINO's benchmark tool failed on {spec.name}: {' '.join(last)}")
    return float(fps[1]), float(latency[1])
