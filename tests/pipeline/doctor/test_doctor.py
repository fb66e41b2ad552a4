from __future__ import annotations

import json
import resource
import socket
from types import SimpleNamespace

import pytest

from posestream.models.engines.fake import FakeEngine, empty_fields
from posestream.models.engines.nvidia_packages import Needed
from posestream.models.errors import EngineError
from posestream.models.registry import load_registry
from posestream.models.weights import Weights
from posestream.pipeline.commands import main
from posestream.pipeline.doctor import decoders, devices, gpu, grouping, software, system
from posestream.pipeline.doctor.finding import Finding, State
from posestream.stages.group.compiled import NotCompiledError
from posestream.stages.group.implementation import choose_implementation

SPEC = load_registry([])["mobilenet-thin"]


def by_name(findings):
    """Give findings by their names."""
    return {finding.name: finding for finding in findings}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Give a cache of its own."""
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one_network(monkeypatch):
    """Have one network, on engines that compute nothing."""
    monkeypatch.setattr(devices, "usable_networks", lambda: [(SPEC, Weights(SPEC, ()))])
    monkeypatch.setattr(gpu, "usable_networks", lambda: [(SPEC, Weights(SPEC, ()))])

    def open_engine(spec, weights, device, precision="auto", requests=0, batch=0):
        if precision == "f16":
            raise EngineError(f"device {device} has no f16")
        return FakeEngine(spec, capacity=2 * max(batch, 1), batch=max(batch, 1))

    monkeypatch.setattr(devices, "open_engine", open_engine)
    monkeypatch.setattr(gpu, "open_engine", open_engine)


def test_packages_are_told_with_their_extras(monkeypatch):
    """Packages that are needed are errors where they are missing; an extra's absence names what to install."""
    asked = ["numpy>=2", "nowhere>=1", 'also-nowhere[x]>=1; extra == "moon"', 'pytest; extra == "test"']
    records = [SimpleNamespace(requires=asked), SimpleNamespace(requires=None), SimpleNamespace(requires=asked[:1])]
    monkeypatch.setattr(software.metadata, "distributions", lambda name: records)
    found = by_name(software.look_at_software())
    assert found["python"].state is State.OK
    assert found["numpy"].state is State.OK
    monkeypatch.setattr(software, "_INSTEAD", {"nowhere": ("not-there", "numpy")})
    assert by_name(software.look_at_software())["nowhere"].text.endswith(" (numpy)")
    assert (found["nowhere"].state, found["nowhere"].advice) == (State.ERROR, "pip install nowhere")
    assert (found["[moon]"].state, found["[moon]"].advice) == (State.ABSENT, "pip install 'posestream[moon]'")
    assert "[test]" not in found


@pytest.mark.parametrize(
    ("is_broken", "state"), [(False, State.ABSENT), (True, State.WARNING)], ids=["never compiled", "broken"]
)
def test_grouping_without_the_compiled_decoder_says_why(is_broken, state, monkeypatch):
    """NumPy's serves where nothing was compiled, which is said with the reason and with what to do."""

    def load():
        raise NotCompiledError("somebody took it", is_broken=is_broken)

    monkeypatch.setattr(grouping, "load", load)
    (found,) = grouping.look_at_grouping()
    assert (found.state, found.data) == (state, {"implementation": "numpy"})
    assert "somebody took it" in found.text
    assert found.advice.startswith("install a C compiler")


def test_the_decoder_that_groups_is_told(monkeypatch):
    """Where the compiled decoder can be loaded it is the one that serves."""
    monkeypatch.setattr(grouping, "load", lambda: None)
    (found,) = grouping.look_at_grouping()
    assert (found.state, found.text, found.data) == (State.OK, "compiled", {"implementation": "compiled"})


def test_this_machine_is_in_order(cache):
    """On a machine that runs the tests, folders, sockets and clocks are no errors, and the cache can be written to."""
    found = by_name(system.look_at_system())
    assert set(found) == {"cache", "ipc", "shared memory", "open files", "ports", "clock"}
    assert all(finding.state is not State.ERROR for finding in found.values())
    assert found["cache"].data["folder"] == f"{cache}"
    assert 0 < found["ipc"].data["used_bytes"] < found["ipc"].data["limit_bytes"]


def test_trouble_of_the_system_is_told_with_its_remedy(tmp_path, monkeypatch):
    """A cache that cannot be made, few open files, and ports that are taken each come with what to do."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(system, "_PORTS", (taken.getsockname()[1],))
        found = by_name(system.look_at_system())
    assert found["cache"].state is State.ERROR
    assert "POSESTREAM_CACHE" in found["cache"].advice
    assert (found["open files"].state, found["open files"].advice[:10]) == (State.WARNING, "ulimit -n ")
    assert found["ports"].state is State.WARNING


def test_decoders_are_tried_on_a_clip(monkeypatch):
    """The usual decoders are here, and hardware counts only if it gives every frame of a clip."""
    monkeypatch.setattr(decoders, "hwdevices_available", list)
    found = by_name(decoders.look_at_decoders())
    assert found["h264 decoder"].state is State.OK
    assert found["libx264 encoder"].state is State.OK

    class Source:
        def __init__(self, frames):
            self.frames = frames

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def decode(self, video):
            return [None] * self.frames

    monkeypatch.setattr(decoders, "HWAccel", lambda **_: None)
    assert decoders._hardware("cuda", b"", lambda *_, **__: Source(8)).state is State.OK
    assert decoders._hardware("cuda", b"", lambda *_, **__: Source(3)).state is State.WARNING

    def refuse(*_, **__):
        raise RuntimeError("no stream is compatible")

    assert decoders._hardware("cuda", b"", refuse).state is State.ABSENT


def test_devices_are_told_with_speed_or_what_to_install(one_network, monkeypatch):
    """Each device has a speed; each family without one says what to install; without `cpu` nothing works."""
    monkeypatch.setattr(devices, "devices_of", lambda family: {"cuda": ("cuda:0",)}.get(family, ()))
    monkeypatch.setattr(devices, "gpu_names", lambda: ("NVIDIA A",))
    found = by_name(devices.look_at_devices())
    assert found["GPU 0"].text == "NVIDIA A"
    assert found["cuda:0"].state is State.OK
    assert found["cuda:0"].data["fps"] > 0
    assert found["cpu"].state is State.ERROR
    assert (found["npu"].state, found["npu"].advice) == (State.ABSENT, devices.FAMILIES["npu"])


@pytest.mark.parametrize(("each_s", "most_s", "fps"), [(0.01, 1.2, 100.0), (3.0, 6.0, 1 / 3)])
def test_speed_test_is_bounded_by_time(each_s, most_s, fps, monkeypatch):
    """A speed test lasts about a second after its first inference; of a slow engine it is one inference more."""
    clock = SimpleNamespace(now_s=0.0)
    monkeypatch.setattr("posestream.pipeline.bench.measure.time.perf_counter", lambda: clock.now_s)

    def fields(image):
        clock.now_s += each_s
        return empty_fields(SPEC)(image)

    class Slow(FakeEngine):
        at_once = 1

    found = devices.speed_finding("cpu", SPEC, lambda: Slow(SPEC, fields, capacity=8))
    assert clock.now_s <= most_s
    assert found.data["fps"] == pytest.approx(fps, rel=0.05, abs=0.05)


def test_device_without_a_network_was_not_tried(monkeypatch):
    """Without a network on this machine a device is told as not tried, with how to get one."""
    monkeypatch.setattr(devices, "usable_networks", list)
    monkeypatch.setattr(devices, "devices_of", lambda family: ("cpu",) if family == "cpu" else ())
    found = by_name(devices.look_at_devices())
    assert found["cpu"].state is State.WARNING
    assert found["cpu"].advice == "posestream models fetch mobilenet-thin"


def test_gpus_are_tried_against_the_processor(one_network, monkeypatch):
    """Every GPU is tried in each precision and batch, compared with the processor, and told as a table."""
    monkeypatch.setattr(gpu, "devices_of", lambda family: {"cuda": ("cuda:0",)}.get(family, ()))
    trials = gpu.try_gpus()
    assert [(trial.precision, bool(trial.failure)) for trial in trials] == [
        ("auto", False),
        ("f32", False),
        ("f16", True),
    ]
    assert [batch for batch, _ in trials[0].fps] == [1, 4, 8, 16]
    assert trials[0].difference == 0.0
    lines = gpu.gpu_table(trials).splitlines()
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert "has no f16" in lines[-1]


def test_gpu_that_cannot_be_used_is_told_once(one_network, monkeypatch):
    """Where a GPU and its driver are here and a library is not, that is one warning with the reason and the advice."""
    monkeypatch.setattr(devices, "devices_of", lambda family: ("cpu",) if family == "cpu" else ())
    monkeypatch.setattr(devices, "obstacle", lambda family: "no libcublas.so.13" if family != "opencv-cuda" else "")
    monkeypatch.setattr(devices, "tensorrt_needed", lambda: Needed(11, 14))
    found = by_name(devices.look_at_devices())
    assert (found["cuda"].state, found["cuda"].text) == (State.WARNING, "no libcublas.so.13")
    assert found["ort-cpu"].state is State.ABSENT
    assert (found["opencv-cuda"].state, found["opencv-cuda"].text) == (State.ABSENT, "no device opencv-cuda is here")
    assert found["tensorrt"].advice == "as for cuda, and pip install 'tensorrt-cu14>=11,<12'"


@pytest.mark.parametrize(("failing", "code"), [({"f16"}, 0), ({"auto", "f32", "f16"}, 4)])
def test_trials_that_all_fail_exit_with_4(failing, code, one_network, monkeypatch, capsys):
    """`doctor --gpu` exits with 4 where no trial succeeded, and prints its table all the same."""

    def open_engine(spec, weights, device, precision="auto", requests=0, batch=0):
        if device != "cpu" and precision in failing:
            raise EngineError(f"device {device} has no {precision}")
        return FakeEngine(spec, capacity=2 * max(batch, 1), batch=max(batch, 1))

    monkeypatch.setattr(gpu, "open_engine", open_engine)
    monkeypatch.setattr(gpu, "devices_of", lambda family: {"cuda": ("cuda:0",)}.get(family, ()))
    assert main(["doctor", "--gpu"]) == code
    assert capsys.readouterr().out.count("has no") == len(failing)


def test_no_gpu_is_one_line_and_exit_4(monkeypatch, capsys):
    """`doctor --gpu` on a machine without one says so in a line with what to install, and exits with 4."""
    monkeypatch.setattr(gpu, "devices_of", lambda family: ())
    assert main(["doctor", "--gpu"]) == 4
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "posestream[onnxruntime-gpu]" in told


@pytest.mark.parametrize(("state", "code"), [(State.ABSENT, 0), (State.ERROR, 4)])
def test_findings_are_a_table_or_json(state, code, monkeypatch, capsys):
    """Findings are told as a table or as one JSON object, and only errors change the exit code."""
    findings = [Finding("system", "thing", state, "is thus", "do this", {"number": 3})]
    monkeypatch.setattr("posestream.pipeline.commands.doctor._LOOKS", (lambda: findings,))
    assert main(["doctor", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["usable"] == (code == 0)
    assert told["findings"] == [findings[0].to_json()]
    assert told["grouping"] == choose_implementation("auto")
    assert main(["doctor"]) == code
    assert "do this" in capsys.readouterr().out
