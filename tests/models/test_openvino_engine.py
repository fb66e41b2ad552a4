from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from posestream.models.engines import available_devices, open_engine
from posestream.models.engines import openvino as openvino_engine
from posestream.models.engines.openvino import STATIC_SHAPES, OpenVinoEngine
from posestream.models.engines.runtime import load_core, load_openvino
from posestream.models.errors import EngineError, InferenceError
from posestream.models.weights import Weights


def closed(engine):
    """Close an engine and give it back."""
    engine.close()
    return engine


@pytest.mark.parametrize("kind", ["tiny_two", "tiny_one", "tiny_onnx"])
def test_maps_are_those_of_the_network(kind, request, picture, wait):
    """Heatmaps and PAFs are the network's own numbers, whatever its axes, outputs and input scaling."""
    tiny = request.getfixturevalue(kind)
    engine = OpenVinoEngine(tiny.spec, tiny.weights, precision="f32")
    image = picture(64, 96)
    engine.submit([5], [image])
    (done,) = wait(engine)
    heatmaps, pafs = tiny.expected(image)
    assert done.ticket == 5
    np.testing.assert_allclose(done.heatmaps_chw, heatmaps, atol=2e-4)
    np.testing.assert_allclose(done.pafs_chw, pafs, atol=2e-4)
    assert done.heatmaps_chw.flags.owndata
    assert done.heatmaps_chw.flags.c_contiguous
    assert done.elapsed_s > 0
    engine.close()


def test_all_requests_come_back_once(tiny_two, picture, wait):
    """As many pictures as the capacity run at once, and each ticket comes back once with its own maps."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, requests=3, precision="f32")
    images = {ticket: picture(64, 64 + 8 * ticket) for ticket in range(3)}
    for ticket, image in images.items():
        engine.submit([ticket], [image])
    done = []
    while len(done) < 3:
        done += wait(engine)
    assert sorted(item.ticket for item in done) == [0, 1, 2]
    for item in done:
        np.testing.assert_allclose(item.heatmaps_chw, tiny_two.expected(images[item.ticket])[0], atol=2e-4)
    assert engine.completed() == []
    engine.close()


def test_one_picture_too_many_is_an_error(tiny_two, picture, wait):
    """A picture beyond the capacity is refused, and the ones before are not disturbed."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, requests=1)
    engine.submit([0], [picture(64, 64)])
    with pytest.raises(EngineError, match="all 1 requests are busy"):
        engine.submit([1], [picture(64, 64)])
    assert [item.ticket for item in wait(engine)] == [0]
    engine.submit([2], [picture(64, 64)])
    assert [item.ticket for item in wait(engine)] == [2]
    engine.close()


def test_it_takes_one_picture_at_a_time(tiny_two, picture):
    """Batches gain nothing on a processor, whatever was asked for: two pictures are two requests."""
    engine = open_engine(tiny_two.spec, tiny_two.weights, "cpu", batch=4)
    assert engine.batch == 1
    with pytest.raises(EngineError, match="2 pictures with 2 tickets: it takes 1 to 1 together"):
        engine.submit([0, 1], [picture(64, 64)] * 2)
    engine.close()


def test_picture_is_free_after_submit(tiny_two, wait):
    """Writing into a picture after `submit` does not change its result."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, precision="f32")
    image = np.full((64, 64, 3), 90, np.uint8)
    expected = tiny_two.expected(image.copy())[0]
    engine.submit([0], [image])
    image[:] = 0
    np.testing.assert_allclose(wait(engine)[0].heatmaps_chw, expected, atol=2e-4)
    engine.close()


def test_few_sizes_are_compiled_and_one_serves_the_rest(tiny_two, picture, wait):
    """However many sizes come, no more than the static ones and one for all others are compiled."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, precision="f32")
    for number in range(STATIC_SHAPES + 4):
        image = picture(64, 64 + 8 * number)
        engine.submit([number], [image])
        (done,) = wait(engine)
        np.testing.assert_allclose(done.pafs_chw, tiny_two.expected(image)[1], atol=2e-4)
    assert repr(engine).endswith("64×64, 72×64, 80×64, 88×64, any)")
    engine.close()


def test_capacity_grows_to_what_openvino_finds_best(tiny_two):
    """With requests left open the capacity after compiling is at least the first one, and a given number stays."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights)
    before = engine.capacity
    engine.prepare(64, 64)
    assert engine.capacity >= before == 2
    assert engine.capacity % 2 == 0
    engine.close()
    told = OpenVinoEngine(tiny_two.spec, tiny_two.weights, requests=5)
    told.prepare(64, 64)
    assert closed(told).capacity == 5


def test_compiled_networks_are_kept(tiny_two, tmp_path):
    """Compiling leaves something in the cache folder, so that the next start is faster."""
    folder = tmp_path / "compiled"
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, compiled_folder=folder)
    engine.prepare(64, 64)
    engine.close()
    assert list(folder.glob("*.blob"))


def test_damaged_compiled_network_is_compiled_again(tiny_two, tmp_path, picture, wait):
    """A cut-off file in the folder of compiled networks changes nothing but the time."""
    folder = tmp_path / "compiled"
    first = OpenVinoEngine(tiny_two.spec, tiny_two.weights, compiled_folder=folder, precision="f32")
    first.prepare(64, 64)
    first.close()
    for blob in folder.glob("*.blob"):
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:100])
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, compiled_folder=folder, precision="f32")
    image = picture(64, 64)
    engine.submit([0], [image])
    np.testing.assert_allclose(wait(engine)[0].heatmaps_chw, tiny_two.expected(image)[0], atol=2e-4)
    engine.close()


def test_unusable_folder_for_compiled_networks_is_no_error(tiny_two, tmp_path):
    """Where compiled networks cannot be kept, the engine works without."""
    (tmp_path / "file").write_text("")
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, compiled_folder=tmp_path / "file" / "compiled")
    engine.prepare(64, 64)
    engine.close()
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32)])
def test_what_is_no_picture_is_refused(tiny_two, image):
    """An array of another type or number of axes is refused in one line."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights)
    with pytest.raises(EngineError, match="takes uint8 H×W×3"):
        engine.submit([0], [image])
    engine.close()


@pytest.mark.parametrize("size", [(60, 64), (64, 60), (0, 64)])
def test_sizes_between_cells_are_refused(tiny_two, size):
    """Heights and widths that are no multiples of the stride are refused, by `submit` and by `prepare`."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights)
    with pytest.raises(EngineError, match="multiples of 8"):
        engine.submit([0], [np.zeros((*size, 3), np.uint8)])
    with pytest.raises(EngineError, match="multiples of 8"):
        engine.prepare(*size)
    engine.close()


def test_failed_inference_names_its_ticket(tiny_two, tmp_path, picture, wait):
    """An inference that fails inside OpenVINO is raised with its ticket, and the engine goes on."""
    openvino = load_openvino()
    ops = openvino.opset13
    # Fits pictures of 8·152 pixels only, which of a network for any size comes out when it runs.
    image = ops.parameter([1, 3, -1, -1], np.float32, name="data")
    maps = ops.reshape(image, ops.constant(np.array([1, 57, 8, 8], np.int64)), special_zero=False)
    maps.output(0).set_names({"maps"})
    path = tmp_path / "fails.xml"
    openvino.save_model(openvino.Model([ops.result(maps)], [image], "fails"), path)
    output = dataclasses.replace(tiny_two.spec.heatmaps, tensor="maps")
    pafs = dataclasses.replace(tiny_two.spec.pafs, tensor="maps", first=19)
    spec = dataclasses.replace(tiny_two.spec, heatmaps=output, pafs=pafs)
    engine = OpenVinoEngine(spec, Weights(spec, (path, path.with_suffix(".bin"))))
    for number in range(STATIC_SHAPES):  # leave only the network for any size
        engine._compiled[(number, number)] = None
    engine.submit([3], [picture(64, 64)])
    (request,) = engine._running.values()
    with pytest.raises(RuntimeError):
        request.infer.wait()
    with pytest.raises(InferenceError, match="the inference failed") as caught:
        engine.completed()
    assert caught.value.tickets == (3,)
    engine._compiled = {key: value for key, value in engine._compiled.items() if value}
    engine.submit([4], [picture(8, 152)])
    assert [item.ticket for item in wait(engine)] == [4]
    engine.close()


def test_close_waits_for_what_runs(tiny_two, picture):
    """Closing with pictures under way neither hangs nor fails, and twice is once."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, requests=4)
    for ticket in range(4):
        engine.submit([ticket], [picture(64, 64)])
    engine.close()
    engine.close()
    assert "0/4 running" in repr(engine)


@pytest.mark.parametrize("is_running", [False, True])
def test_a_closed_engine_is_freed(tiny_two, picture, wait, is_running):
    """A closed engine that nobody holds is gone, with its networks: whoever opens a thousand has one."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, requests=2)
    engine.submit([0], [picture(64, 64)])
    if not is_running:
        wait(engine)
    engine.close()
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None


def test_description_names_engine_and_precision(tiny_two):
    """The description tells the engine and the precision in which it computes."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, precision="f32")
    assert engine.description.startswith("OpenVINO 20")
    assert engine.description.endswith(", f32")
    assert closed(engine).device == "cpu"


def test_bf16_is_never_silently_something_else(tiny_two):
    """bf16 gives bf16 where the processor has it, and an error that says what to choose where it has not."""
    has_bf16 = "BF16" in load_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if has_bf16:
        assert closed(OpenVinoEngine(tiny_two.spec, tiny_two.weights, precision="bf16")).description.endswith("bf16")
    else:
        with pytest.raises(EngineError, match="no bf16: choose precision auto or f32"):
            OpenVinoEngine(tiny_two.spec, tiny_two.weights, precision="bf16")


def test_unknown_precision_is_refused(tiny_two):
    """A precision that does not exist is refused with those that do."""
    with pytest.raises(EngineError, match="unknown precision 'f64': choose one of auto, f32, bf16, f16"):
        OpenVinoEngine(tiny_two.spec, tiny_two.weights, precision="f64")


@pytest.mark.parametrize(
    ("name", "content"), [("a.xml", b"nothing"), ("b.xml", b'<?xml version="1.0"?><net name="x" version="11">')]
)
def test_damaged_ir_is_one_line(tiny_two, tmp_path, name, content, capfd):
    """A file that is no network is an EngineError of one line that names it, and nothing is printed."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError) as caught:
        OpenVinoEngine(tiny_two.spec, Weights(tiny_two.spec, (tmp_path / name, tiny_two.weights.paths[1])))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_missing_output_is_named(tiny_two):
    """A network without the outputs of its spec is refused with the outputs that it has."""
    spec = dataclasses.replace(tiny_two.spec, pafs=dataclasses.replace(tiny_two.spec.pafs, tensor="L1"))
    with pytest.raises(EngineError, match="no output 'L1', only fields, heat"):
        OpenVinoEngine(spec, tiny_two.weights)


def test_other_formats_are_refused(tiny_two):
    """A file of a format that OpenVINO does not read is refused with those that it does."""
    with pytest.raises(EngineError, match=r"it reads \.xml, \.pb, \.onnx"):
        OpenVinoEngine(tiny_two.spec, Weights(tiny_two.spec, (Path("net.caffemodel"),)))


def test_opened_by_device_string(tiny_two, tmp_path, monkeypatch):
    """`open_engine` with device `cpu` gives this engine, which keeps compiled networks in the cache folder."""
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))
    engine = open_engine(tiny_two.spec, tiny_two.weights, "cpu")
    engine.prepare(64, 64)
    engine.close()
    assert isinstance(engine, OpenVinoEngine)
    assert "cpu" in available_devices()
    assert list((tmp_path / "cache" / "compiled").iterdir())


def test_nothing_is_reported_to_anybody(tmp_path):
    """Loading OpenVINO through posestream imports neither its converter nor its statistics package."""
    code = (
        "import sys; from posestream.models.engines.runtime import load_openvino; load_openvino().Core();"
        "print([name for name in sys.modules if 'telemetry' in name or name.startswith('openvino.tools.ovc')])"
    )
    run = subprocess.run(  # noqa: S603 # our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


def test_a_signal_after_all_cores_were_let_go_is_handled():
    """Whichever thread lets go of the last core, signals reach their handlers as before."""
    code = (
        "import os, signal, threading\n"
        "from posestream.models.engines.runtime import load_core\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "held = [load_core()]\n"
        "held[0].get_property('CPU', 'OPTIMIZATION_CAPABILITIES')\n"
        "leaving = threading.Thread(target=held.clear)\n"
        "leaving.start(); leaving.join()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (0, "handled\n", "")


class ManyDevices:
    """OpenVINO's core as it looks on a machine with two Intel GPUs and an NPU; it computes on the processor."""

    def __init__(self, names=("CPU", "GPU.0", "GPU.1", "NPU")):
        self._core = load_core()
        self.available_devices = list(names)
        self.compiled = []

    def read_model(self, *paths):
        return self._core.read_model(*paths)

    def get_property(self, device, name):
        if device == "NPU" and name == "OPTIMIZATION_CAPABILITIES":
            return ["FP16"]
        return device if name == "FULL_DEVICE_NAME" else self._core.get_property("CPU", name)

    def compile_model(self, model, device, config):
        self.compiled.append((device, model.input(0).get_partial_shape().is_static))
        return self._core.compile_model(model, "CPU", config)


@pytest.fixture
def many_devices(monkeypatch):
    """Give a machine with Intel's other devices."""
    core, real = ManyDevices(), load_openvino()
    fake = SimpleNamespace(
        Core=lambda: core, **{name: getattr(real, name) for name in ("preprocess", "Type", "Layout")}
    )
    fake.get_version = real.get_version
    monkeypatch.setattr(openvino_engine, "load_openvino", lambda: fake)
    monkeypatch.setattr(openvino_engine, "load_core", lambda: core)
    return core


def test_intels_other_devices_are_counted_and_chosen(many_devices, tiny_two, picture, wait):
    """GPUs have a number each where there are several, and what was asked for computes."""
    assert openvino_engine.devices("intel-gpu") == ("intel-gpu:0", "intel-gpu:1")
    assert openvino_engine.devices("npu") == ("npu",)
    many_devices.available_devices = ["CPU", "GPU"]
    assert openvino_engine.devices("intel-gpu") == ("intel-gpu",)
    assert openvino_engine.devices("npu") == ()
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, "intel-gpu:1")
    engine.submit([0], [picture(64, 64)])
    (done,) = wait(engine)
    engine.close()
    np.testing.assert_allclose(done.heatmaps_chw, tiny_two.expected(picture(64, 64))[0], atol=0.02)
    assert many_devices.compiled == [("GPU.1", True)]
    assert "GPU.1" in engine.description


def test_half_precision_is_refused_on_processors(tiny_two):
    """f16 on a processor, which would silently compute in f32, is an error that says what to choose."""
    with pytest.raises(EngineError, match="cpu: this processor has no f16: choose precision auto or f32"):
        OpenVinoEngine(tiny_two.spec, tiny_two.weights, precision="f16")


def test_npu_gets_every_size_of_its_own(many_devices, tiny_two, picture, wait):
    """An NPU, which needs to know its sizes, has each compiled, however many there are."""
    engine = OpenVinoEngine(tiny_two.spec, tiny_two.weights, "npu")
    for number in range(openvino_engine.STATIC_SHAPES + 2):
        engine.submit([number], [picture(64, 64 + 8 * number)])
        wait(engine)
    engine.close()
    assert many_devices.compiled == [("NPU", True)] * (openvino_engine.STATIC_SHAPES + 2)
    with pytest.raises(EngineError, match="npu: this device has no bf16"):
        OpenVinoEngine(tiny_two.spec, tiny_two.weights, "npu", "bf16")
