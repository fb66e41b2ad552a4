"""`bench engines`, and OpenVINO's own tool beside it, with stand-ins for the engines and for the tool."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posestream.models.engines.fake import FakeEngine
from posestream.models.errors import EngineError, InferenceError
from posestream.models.registry import load_registry
from posestream.models.weights import Weights
from posestream.pipeline.bench import benchmark_app, engines
from posestream.pipeline.bench.benchmark_app import benchmark_app_fps
from posestream.pipeline.bench.engines import EnginesPlan, measure_engines
from posestream.pipeline.bench.measure import Speed

SPEC = load_registry()["mobilenet-thin"]
NCHW = load_registry()["human-pose-estimation-0001-int8"]
WEIGHTS = Weights(SPEC, (Path("/nowhere/graph.pb"),))
#: What the tool prints at its end.
TOLD = """[Step 11/11] Dumping statistics report
[ INFO ] Execution Devices:['CPU']
[ INFO ] Count:               528 iterations
[ INFO ] Duration:            6032.11 ms
[ INFO ] Latency:
[ INFO ]    Median:           45.21 ms
[ INFO ]    Average:          45.53 ms
[ INFO ] Throughput:          87.53 FPS
"""


class Tool:
    """Takes the place of subprocess.run: notes what it is asked and answers as it is told to."""

    def __init__(self, stdout: str = TOLD, stderr: str = "", returncode: int = 0) -> None:
        self._answer = stdout, stderr, returncode
        self.words: list[str] = []

    def __call__(self, words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.words = list(words)
        assert options["timeout"] > 0
        stdout, stderr, code = self._answer
        return subprocess.CompletedProcess(words, code, stdout, stderr)


def after(words: Sequence[str], option: str) -> str:
    """Give the word behind an option."""
    return words[list(words).index(option) + 1]


def test_the_tool_is_asked_for_what_the_engine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the same file, size, layout and hint, uint8 pictures, and no precision where that is left to OpenVINO."""
    tool = Tool()
    monkeypatch.setattr(benchmark_app.subprocess, "run", tool)

    assert benchmark_app_fps(SPEC, WEIGHTS, "auto", 368, 432) == (87.53, 45.21)

    assert after(tool.words, "-m") == "/nowhere/graph.pb"
    assert json.loads(after(tool.words, "-shape")) == [1, 368, 432, 3]
    assert (after(tool.words, "-layout"), after(tool.words, "-ip")) == ("[NHWC]", "u8")
    assert after(tool.words, "-hint") == "throughput"
    assert "-infer_precision" not in tool.words
    assert "sys.modules['openvino.tools.ovc'] = None" in after(tool.words, "-c")


def test_a_precision_and_another_layout_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that takes NCHW gets its shape so, and a precision that was asked for is asked of the tool."""
    tool = Tool()
    monkeypatch.setattr(benchmark_app.subprocess, "run", tool)

    benchmark_app_fps(NCHW, Weights(NCHW, (Path("/nowhere/net.xml"),)), "f32", 256, 456)

    assert json.loads(after(tool.words, "-shape")) == [1, 3, 256, 456]
    assert (after(tool.words, "-layout"), after(tool.words, "-infer_precision")) == ("[NCHW]", "f32")


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        (Tool("", "Traceback\nRuntimeError: no such model", 1), "RuntimeError: no such model"),
        (Tool("[ INFO ] Throughput: 10.0 FPS", "", 0), "Throughput: 10.0 FPS"),
        (Tool(TOLD, "it died at its end", 3), "it died at its end"),
    ],
    ids=["failed", "without a latency", "figures and a failure"],
)
def test_a_tool_that_fails_is_an_error(tool: Tool, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without both figures, or with a failure behind them, the last line that the tool wrote is told."""
    monkeypatch.setattr(benchmark_app.subprocess, "run", tool)

    with pytest.raises(EngineError, match=f"benchmark tool failed on mobilenet-thin: .*{text}"):
        benchmark_app_fps(SPEC, WEIGHTS, "auto", 368, 432)


def test_a_tool_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that does not end is given up with a line that says so."""

    def hang(words: Sequence[str], timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(benchmark_app.subprocess, "run", hang)

    with pytest.raises(EngineError, match="did not end within 120 s"):
        benchmark_app_fps(SPEC, WEIGHTS, "auto", 368, 432)


class Machine:
    """Two devices that pretend, one with two precisions, and the order of what was measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.turns: list[str] = []
        self.engines: list[FakeEngine] = []
        self._names: dict[int, str] = {}
        monkeypatch.setattr(engines, "available_devices", lambda: ("cpu", "ort-cpu", "npu"))
        monkeypatch.setattr(engines, "_network", lambda model: (SPEC, WEIGHTS))
        monkeypatch.setattr(engines, "open_engine", self._open)
        monkeypatch.setattr(engines, "network_speed", self._speed)
        monkeypatch.setattr(engines, "benchmark_app_fps", self._tool)

    def _open(self, spec: Any, weights: Any, device: str, precision: str) -> FakeEngine:
        # "auto" is what the device likes best.
        known = {"cpu": {"auto": "bf16", "bf16": "bf16", "f32": "f32"}, "ort-cpu": {"auto": "f32", "f32": "f32"}}
        if precision not in known.get(device, {}):
            raise EngineError(f"device {device}: no {precision}")
        name = f"{device} {known[device][precision]}"
        engine = type("Named", (FakeEngine,), {"description": name})(spec)
        self._names[id(engine)] = name
        self.engines.append(engine)
        return engine

    def _speed(self, engine: FakeEngine, image: np.ndarray, frames: int) -> Speed:
        self.turns.append(self._names[id(engine)])
        return Speed({"cpu bf16": 80.0, "cpu f32": 30.0, "ort-cpu f32": 20.0}[self.turns[-1]] + len(self.turns), 25.0)

    def _tool(self, spec: Any, weights: Any, precision: str, height: int, width: int) -> tuple[float, float]:
        self.turns.append(f"tool {precision}")
        return (90.0 if precision == "auto" else 33.0), 40.0


def test_engines_have_their_turns_in_each_round(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each engine and the tool are measured once a round, one after the other; medians are told, and who was not."""
    machine = Machine(monkeypatch)

    measure_engines(EnginesPlan("mobilenet-thin", 432, 368, rounds=3, frames=8, has_tool=True))

    assert machine.turns == ["cpu bf16", "cpu f32", "ort-cpu f32", "tool auto", "tool f32"] * 3
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["model"], told["net_size"]) == ("mobilenet-thin", [432, 368])
    rows = {(row["device"], row["precision"]): row for row in told["engines"]}
    # Turns 1, 6 and 11.
    assert rows["cpu", "auto"]["fps"] == 86.0
    assert rows["benchmark_app", "auto"] == {
        "device": "benchmark_app",
        "precision": "auto",
        "engine": "OpenVINO's own tool, CPU",
        "fps": 90.0,
        "latency_ms": 40.0,
    }
    assert rows["cpu", "f32"]["cpu_ms_per_frame"] == 25.0
    assert told["left_out"] == [{"device": "npu", "precision": "auto", "reason": "device npu: no auto"}]
    assert all(engine.is_closed for engine in machine.engines)


def test_what_fails_on_the_way_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An engine that cannot compile, one that fails in a later round and a tool that fails cost the others nothing."""
    machine = Machine(monkeypatch)

    def refuse(engine: FakeEngine, height: int, width: int) -> None:
        if engine.description == "cpu f32":
            raise EngineError("no libnvinfer.so.10")

    monkeypatch.setattr(FakeEngine, "prepare", refuse)

    def speed(engine: FakeEngine, image: np.ndarray, frames: int) -> Speed:
        if engine.description == "ort-cpu f32" and len(machine.turns) > 3:
            raise InferenceError((0,), "out of memory")
        return machine._speed(engine, image, frames)

    monkeypatch.setattr(engines, "network_speed", speed)

    def tool(spec: Any, weights: Any, precision: str, height: int, width: int) -> tuple[float, float]:
        if precision == "f32":
            raise EngineError("it died")
        return machine._tool(spec, weights, precision, height, width)

    monkeypatch.setattr(engines, "benchmark_app_fps", tool)
    measure_engines(EnginesPlan("mobilenet-thin", 432, 368, rounds=3, frames=8, has_tool=True))

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["device"], row["precision"]) for row in told["engines"]] == [
        ("cpu", "auto"),
        ("benchmark_app", "auto"),
    ]
    assert [(each["device"], each["precision"], each["reason"]) for each in told["left_out"]] == [
        ("npu", "auto", "device npu: no auto"),
        ("cpu", "f32", "no libnvinfer.so.10"),
        ("benchmark_app", "f32", "it died"),
        ("ort-cpu", "auto", "out of memory"),
    ]
    assert all(engine.is_closed for engine in machine.engines)


def test_where_everything_fails_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no engine is left, the error names each of them and why."""
    Machine(monkeypatch)

    def refuse(engine: FakeEngine, height: int, width: int) -> None:
        raise EngineError("no room")

    monkeypatch.setattr(FakeEngine, "prepare", refuse)
    with pytest.raises(EngineError, match=r"no device of this machine can run mobilenet-thin.*no room"):
        measure_engines(EnginesPlan("mobilenet-thin", 432, 368, rounds=1, frames=8, has_tool=False))


def test_a_machine_without_a_device_for_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can run the network, the error names each device and why."""
    Machine(monkeypatch)
    monkeypatch.setattr(engines, "available_devices", lambda: ("npu",))

    with pytest.raises(EngineError, match=r"no device of this machine can run mobilenet-thin.*no auto"):
        measure_engines(EnginesPlan("mobilenet-thin", 432, 368, rounds=1, frames=8, has_tool=False))
