from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from posestream.models.engines import check_device, devices_of, nvidia, open_engine
from posestream.models.errors import EngineError, InferenceError
from posestream.models.weights import Weights

from .own_network import write_own

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra is not installed: pip install -e '.[onnxruntime]'")
onnx = pytest.importorskip("onnx", reason="the extra is not installed: pip install -e '.[onnxruntime]'")

from posestream.models.engines import onnxruntime as module  # noqa: E402 - it needs what is looked for above
from posestream.models.engines.onnx_file import onnx_file  # noqa: E402
from posestream.models.engines.onnx_picture import fitted  # noqa: E402
from posestream.models.engines.onnxruntime import OnnxRuntimeEngine  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what is converted and compiled out of the user's cache."""
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def take(engine, count, wait):
    """Wait for so many pictures."""
    done = []
    while len(done) < count:
        done += wait(engine)
    return done


@pytest.mark.parametrize("kind", ["tiny_onnx", "tiny_one", "tiny_two"])
def test_maps_are_those_of_the_network(kind, request, picture, wait, cache):
    """Networks in ONNX, and in OpenVINO's format made into ONNX once, give their own numbers, scaled as they ask."""
    tiny = request.getfixturevalue(kind)
    if kind == "tiny_two":  # converting reads both of its files
        assert len(tiny.weights.paths) == 2
    engine = OnnxRuntimeEngine(tiny.spec, tiny.weights)
    engine.prepare(64, 64)
    for ticket, size in enumerate([(64, 64), (64, 96), (128, 64), (64, 64)]):
        engine.submit([ticket], [picture(*size)])
        (done,) = wait(engine)
        heatmaps, pafs = tiny.expected(picture(*size))
        assert done.ticket == ticket
        np.testing.assert_allclose(done.heatmaps_chw, heatmaps, atol=2e-4)
        np.testing.assert_allclose(done.pafs_chw, pafs, atol=2e-4)
    engine.close()
    assert len(list(cache.rglob("*.onnx"))) == (0 if kind == "tiny_onnx" else 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"opset": 7},
        {"opset": 9},
        {"picture": "posestream_picture"},
        {"picture": "picture", "between": "picture_0"},
        {"between": "posestream_picture"},
        {"output": "posestream_heatmaps"},
        {"output": "posestream_pafs"},
        {"node": "posestream_picture_Cast"},
        {"between": "posestream__pafs_part", "node": "posestream_pafs_part"},
    ],
    ids=str,
)
def test_old_files_and_any_names_are_run(odd, tiny_onnx, picture, wait):
    """An ONNX file of old operators, or with the very names that are added to it, gives its own numbers."""
    kernel = write_own(tiny_onnx.weights.paths[0], **odd)
    tensor = odd.get("output", "maps")
    spec = dataclasses.replace(
        tiny_onnx.spec,
        heatmaps=dataclasses.replace(tiny_onnx.spec.heatmaps, tensor=tensor),
        pafs=dataclasses.replace(tiny_onnx.spec.pafs, tensor=tensor),
    )
    engine = OnnxRuntimeEngine(spec, tiny_onnx.weights)
    engine.submit([0], [picture(64, 72)])
    (done,) = wait(engine)
    engine.close()
    heatmaps, pafs = dataclasses.replace(tiny_onnx, spec=spec, kernel=kernel).expected(picture(64, 72))
    np.testing.assert_allclose(done.heatmaps_chw, heatmaps, atol=2e-4)
    np.testing.assert_allclose(done.pafs_chw, pafs, atol=2e-4)


@pytest.mark.parametrize("level", ["DISABLE_ALL", "ENABLE_BASIC"])
@pytest.mark.parametrize("kind", ["tiny_onnx", "tiny_one", "tiny_two"])
def test_picture_goes_into_a_cast(kind, level, request, tmp_path):
    """TensorRT takes uint8 into a Cast alone; ONNX Runtime's own rewriting before it leaves that so."""
    tiny = request.getfixturevalue(kind)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    options.optimized_model_filepath = str(tmp_path / "rewritten.onnx")
    network = fitted(*onnx_file(tiny.spec, tiny.weights, is_float=True))
    onnxruntime.InferenceSession(network.model, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "rewritten.onnx").graph
    assert [node.op_type for node in graph.node if network.picture in node.input] == ["Cast"]


def test_maps_belong_to_the_receiver(tiny_onnx, picture, wait):
    """What an inference gave is not changed by the next one."""
    engine = OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights)
    engine.submit([0], [picture(64, 64)])
    (first,) = wait(engine)
    kept = first.pafs_chw.copy()
    engine.submit([1], [np.zeros((64, 64, 3), np.uint8)])
    (second,) = wait(engine)
    engine.close()
    np.testing.assert_array_equal(first.pafs_chw, kept)
    assert not np.array_equal(second.pafs_chw, kept)


def test_pictures_together_have_the_maps_that_they_have_alone(tiny_one, picture, wait):
    """Each picture of a batch has its own maps, for full batches and for smaller ones."""
    engine = OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, batch=3)
    assert (engine.batch, engine.capacity) == (3, 6)
    for count in (3, 2, 1):
        images = [np.random.default_rng(n).integers(0, 256, (64, 96, 3), np.uint8) for n in range(count)]
        engine.submit(range(count), images)
        for done, image in zip(take(engine, count, wait), images, strict=True):
            np.testing.assert_allclose(done.heatmaps_chw, tiny_one.expected(image)[0], atol=2e-4)
    engine.close()


def test_network_of_one_picture_is_given_one(tiny_onnx):
    """A network that was made for one picture at a time takes no batches, whatever was asked for."""
    engine = OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights, batch=3)
    engine.close()
    assert (engine.batch, engine.capacity) == (1, 2)


def test_few_sizes_keep_their_memory(tiny_onnx, picture, wait):
    """A folder of pictures of many sizes holds memory on the device for a few of them only."""
    engine = OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights)
    for ticket in range(12):
        engine.submit([ticket], [picture(64, 64 + 8 * ticket)])
        wait(engine)
    assert len(engine._net._bound) <= 4
    engine.close()


def test_failed_inference_names_its_ticket(tiny_onnx, picture, wait, monkeypatch):
    """An inference that fails inside ONNX Runtime is raised with its ticket, and the engine goes on."""
    engine = OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights)
    engine.prepare(64, 64)
    (bound,) = engine._net._bound.values()
    picture_memory = bound.picture
    bound.picture = SimpleNamespace(update_inplace=lambda stack: picture_memory.update_inplace(stack[:, :8]))
    engine.submit([7], [picture(64, 64)])
    with pytest.raises(InferenceError, match="tiny: the inference failed") as caught:
        wait(engine)
    assert caught.value.tickets == (7,)
    bound.picture = picture_memory
    engine.submit([8], [picture(64, 64)])
    assert [done.ticket for done in wait(engine)] == [8]
    engine.close()


def test_damaged_file_is_one_line(tiny_onnx, tmp_path):
    """A file that is no network is an EngineError of one line that names it."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"tiny.onnx is no ONNX file") as caught:
        OnnxRuntimeEngine(tiny_onnx.spec, Weights(tiny_onnx.spec, (path,)))
    assert "\n" not in str(caught.value)


def test_precisions_are_never_something_else(tiny_onnx):
    """A precision that the device lacks is refused, and the description says what is computed in."""
    with pytest.raises(EngineError, match="ort-cpu does not compute in bf16: choose one of auto, f32"):
        OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights, precision="bf16")
    engine = open_engine(tiny_onnx.spec, tiny_onnx.weights, "ort-cpu")
    engine.close()
    assert engine.description == f"ONNX Runtime {onnxruntime.__version__}, processor, f32"


class FakeRuntime:
    """ONNX Runtime as it looks with NVIDIA's providers: notes what it is told, and computes on the processor."""

    __version__ = "9.9"
    __file__ = "/nowhere/onnxruntime/__init__.py"

    def __init__(self, loaded=("TensorrtExecutionProvider", "CUDAExecutionProvider")):
        self.providers = []
        self.overrides = []
        self.places = []
        self.loaded = loaded
        self.preloaded = 0
        self.unreadable = None
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._value)

    def preload_dlls(self):
        self.preloaded += 1

    def get_available_providers(self):
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def _value(self, shape, dtype, device, number):
        self.places.append((device, number))
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0)

    def SessionOptions(self):  # noqa: N802 - ONNX Runtime's name
        options = onnxruntime.SessionOptions()
        return SimpleNamespace(
            real=options,
            add_session_config_entry=options.add_session_config_entry,
            add_free_dimension_override_by_name=lambda name, size: self.overrides.append((name, size)),
        )

    def InferenceSession(self, model, options, providers, enable_fallback):  # noqa: N802 - ONNX Runtime's name
        assert not enable_fallback
        if "device_id" in providers[0][1]:  # else a provider is tried
            self.providers.append(providers)
            if self.unreadable and self.unreadable.exists():
                raise RuntimeError(f"TensorRT EP could not deserialize engine from cache: {self.unreadable}")
        real = onnxruntime.InferenceSession(model, options.real, providers=["CPUExecutionProvider"])
        names = [name for name, _ in providers if name in self.loaded] or ["CPUExecutionProvider"]
        return SimpleNamespace(
            get_providers=lambda: names,
            io_binding=real.io_binding,
            run=real.run,
            run_with_iobinding=real.run_with_iobinding,
        )


@pytest.fixture
def fake(monkeypatch):
    """Give a machine of two GPUs to ONNX Runtime."""
    runtime = FakeRuntime()
    monkeypatch.setattr(module, "load_onnxruntime", lambda: runtime)
    monkeypatch.setattr(module, "gpu_names", lambda: ("NVIDIA A", "NVIDIA B 8GB"))
    return runtime


def test_gpus_are_counted_and_chosen(fake, tiny_one, picture, wait):
    """Each GPU is a device; the chosen one computes, and pictures and maps lie in its own memory."""
    assert module.devices("cuda") == ("cuda:0", "cuda:1")
    assert module.devices("tensorrt") == ("tensorrt:0", "tensorrt:1")
    engine = open_engine(tiny_one.spec, tiny_one.weights, "cuda:1")
    engine.submit([0], [picture(64, 64)])
    (done,) = wait(engine)
    engine.close()
    np.testing.assert_allclose(done.heatmaps_chw, tiny_one.expected(picture(64, 64))[0], atol=2e-4)
    ((name, options),) = fake.providers[0]
    assert (name, options["device_id"], options["use_tf32"]) == ("CUDAExecutionProvider", "1", "1")
    assert set(fake.places) == {("cuda", 1)}
    assert engine.batch > 1
    assert engine.description == "ONNX Runtime 9.9, cuda, NVIDIA B 8GB, tf32"


def test_tensorrt_keeps_its_engines_by_network_device_and_shape(fake, tiny_one, picture, wait, cache):
    """TensorRT compiles once for each size, and keeps it under the network's digest, the GPU and the shape."""
    engine = OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, "tensorrt:1", batch=2)
    for ticket, size in enumerate([(64, 64), (64, 96), (64, 64)]):
        engine.submit([ticket], [picture(*size)])
        wait(engine)
    engine.close()
    assert len(fake.providers) == 2
    (first, first_options), (second, _) = fake.providers[0]
    assert (first, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert (first_options["trt_fp16_enable"], first_options["device_id"]) == ("True", "1")
    assert first_options["trt_profile_min_shapes"] == "posestream_picture:1x64x64x3"
    assert first_options["trt_profile_max_shapes"] == "posestream_picture:2x64x64x3"
    folders = [Path(providers[0][1]["trt_engine_cache_path"]) for providers in fake.providers]
    assert all(folder.is_dir() and folder.is_relative_to(cache) for folder in folders)
    assert [folder.name.partition("-")[2] for folder in folders] == ["2x64x64-f16", "2x64x96-f16"]
    assert folders[0].parent.name == "NVIDIA-B-8GB-ort9.9"
    assert len({folder.name.partition("-")[0] for folder in folders}) == 1
    assert fake.overrides[:2] == [("posestream_height", 64), ("posestream_width", 64)]


def test_float32_is_no_less(fake, tiny_one, monkeypatch):
    """In f32 neither CUDA's TF32 nor TensorRT's f16 is on; where TF32 cannot be turned off, the description says so."""
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    for device in ("cuda:0", "tensorrt:0"):
        engine = OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, device, "f32", batch=1)
        engine.prepare(64, 64)
        engine.close()
    ((_, cuda),), ((_, tensorrt), (_, beside)) = fake.providers
    assert (cuda["use_tf32"], tensorrt["trt_fp16_enable"], beside["use_tf32"]) == ("0", "False", "0")
    assert engine.description.endswith("f32, convolutions in tf32 (NVIDIA_TF32_OVERRIDE=0 turns that off)")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert engine.description.endswith("NVIDIA A, f32")


def test_engines_of_two_networks_are_kept_apart(fake, tiny_one):
    """Networks of one size have a folder of compiled engines each, also where only what they do to pictures differs."""
    other = dataclasses.replace(tiny_one.spec, input=dataclasses.replace(tiny_one.spec.input, shift=0.0))
    for spec in (tiny_one.spec, other):
        engine = OnnxRuntimeEngine(spec, tiny_one.weights, "tensorrt:0", batch=1)
        engine.prepare(64, 64)
        engine.close()
    first, second = (providers[0][1]["trt_engine_cache_path"] for providers in fake.providers)
    assert first != second


def test_memory_goes_with_its_session(fake, tiny_one):
    """When TensorRT's session of a size is dropped, so is the memory that was bound to it."""
    engine = OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, "tensorrt:0", batch=4)
    for width in range(64, 64 + 8 * 6, 8):
        engine.prepare(64, width)
    assert {(height, width) for _, height, width in engine._net._bound} == set(engine._net._sessions)
    assert len(engine._net._sessions) == 4
    engine.close()


def test_engine_that_cannot_be_read_is_compiled_anew(fake, tiny_one, picture, wait, cache):
    """A kept engine that TensorRT cannot read is deleted, and the network runs."""
    engine = OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, "tensorrt:0", batch=1)
    engine.prepare(64, 64)
    engine.close()
    kept = Path(fake.providers[0][0][1]["trt_engine_cache_path"], "part.engine")
    kept.write_bytes(b"half of it")
    fake.unreadable = kept
    engine = OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, "tensorrt:0", batch=1)
    engine.submit([0], [picture(64, 64)])
    (done,) = wait(engine)
    engine.close()
    np.testing.assert_allclose(done.heatmaps_chw, tiny_one.expected(picture(64, 64))[0], atol=2e-4)
    assert not kept.exists()
    assert len(fake.providers) == 3


def test_network_that_cannot_be_opened_for_a_size_names_its_ticket(fake, tiny_one, picture, wait):
    """Where TensorRT cannot compile a size that comes without a word, that frame has failed, and the engine goes on."""
    fake.loaded = ()
    engine = OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, "tensorrt:0", batch=1)
    engine.submit([3], [picture(64, 64)])
    with pytest.raises(InferenceError, match="TensorrtExecutionProvider cannot be loaded") as caught:
        wait(engine)
    assert caught.value.tickets == (3,)
    fake.loaded = ("TensorrtExecutionProvider",)
    engine.submit([4], [picture(64, 64)])
    assert [done.ticket for done in wait(engine)] == [4]
    engine.close()


def test_bug_of_ours_is_not_hidden(fake, tiny_one, monkeypatch):
    """What ONNX Runtime does not raise is no error of the network's, and is not told as one."""
    monkeypatch.setattr(fake, "InferenceSession", lambda *_, **__: None.nothing)
    with pytest.raises(AttributeError):
        OnnxRuntimeEngine(tiny_one.spec, tiny_one.weights, "cuda:0")


def test_gpu_is_never_silently_the_processor(fake, tiny_onnx):
    """Where a provider's libraries are missing, ONNX Runtime would take the processor: that is an error instead."""
    fake.loaded = ()
    with pytest.raises(EngineError, match="cuda:0: ONNX Runtime's CUDAExecutionProvider cannot be loaded"):
        OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights, "cuda:0")
    fake.loaded = ("CUDAExecutionProvider",)
    engine = OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights, "tensorrt:0")
    with pytest.raises(EngineError, match="tensorrt:0: ONNX Runtime's TensorrtExecutionProvider cannot be loaded"):
        engine.prepare(64, 64)
    engine.close()


@pytest.mark.parametrize("family", ["cuda", "tensorrt"])
def test_gpu_that_cannot_be_used_is_no_device(family, fake):
    """A driver alone makes no device: where the provider cannot be loaded, that is told with what the system says."""
    fake.loaded = ()
    with pytest.raises(EngineError) as caught:
        module.devices(family)
    assert "NVIDIA A and NVIDIA B 8GB and its driver are here, but ONNX Runtime's" in str(caught.value)
    assert "cannot be loaded: /nowhere/onnxruntime/capi/libonnxruntime_providers_shared.so" in str(caught.value)
    assert devices_of(family) == ()
    with pytest.raises(EngineError, match=rf"device {family}:0 is not available here: NVIDIA A .*; there are cpu, "):
        check_device(f"{family}:0")


def test_libraries_are_loaded_once_and_for_gpus_alone(fake, tiny_onnx):
    """NVIDIA's libraries are looked for once in a process, and not for the processor's sake."""
    OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights, "ort-cpu").close()
    assert (module.devices("ort-cpu"), fake.preloaded) == (("ort-cpu",), 0)
    for device in ("cuda:0", "cuda:1", "tensorrt:0"):
        OnnxRuntimeEngine(tiny_onnx.spec, tiny_onnx.weights, device).close()
    assert (len(module.devices("cuda")), fake.preloaded) == (2, 1)


def test_no_gpu_is_no_device(monkeypatch):
    """Without a driver, or with an ONNX Runtime built without CUDA, there is no such device."""
    monkeypatch.setattr(module, "gpu_names", tuple)
    assert module.devices("cuda") == ()
    assert module.devices("ort-cpu") == ("ort-cpu",)
    monkeypatch.setattr(module, "gpu_names", lambda: ("NVIDIA A",))
    assert module.devices("cuda") == ()


def test_driver_tells_its_gpus(monkeypatch):
    """GPUs are counted and named by NVIDIA's driver, and there are none where it is absent or refuses."""

    class Driver:
        def __init__(self, code=0):
            self.code = code

        def cuInit(self, flags):  # noqa: N802 - the driver's name
            return self.code

        def cuDeviceGetCount(self, count):  # noqa: N802 - the driver's name
            count._obj.value = 2
            return 0

        def cuDeviceGet(self, device, number):  # noqa: N802 - the driver's name
            device._obj.value = number
            return 0

        def cuDeviceGetName(self, text, size, device):  # noqa: N802 - the driver's name
            text.value = f"GPU of {device.value}".encode()
            return device.value

    monkeypatch.setattr(nvidia, "_load_driver", Driver)
    assert nvidia.gpu_names() == ("GPU of 0", "GPU 1")
    monkeypatch.setattr(nvidia, "_load_driver", lambda: Driver(100))
    assert nvidia.gpu_names() == ()
    monkeypatch.setattr(nvidia, "_load_driver", lambda: None)
    assert nvidia.gpu_names() == ()
