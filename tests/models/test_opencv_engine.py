from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from posestream.models.engines import available_devices, device_family, open_engine, opencv
from posestream.models.engines.opencv import OpenCvEngine
from posestream.models.errors import EngineError, InferenceError, ModelError
from posestream.models.registry import load_registry
from posestream.models.spec import TensorLayout
from posestream.models.weights import Weights

from .own_network import write_own


def test_maps_are_those_of_the_network(tiny_onnx, picture, wait):
    """Heatmaps and PAFs are the network's own numbers, for one size after another."""
    engine = OpenCvEngine(tiny_onnx.spec, tiny_onnx.weights)
    engine.prepare(64, 64)
    for ticket, size in enumerate([(64, 64), (64, 96), (128, 64), (64, 64)]):
        engine.submit([ticket], [picture(*size)])
        (done,) = wait(engine)
        heatmaps, pafs = tiny_onnx.expected(picture(*size))
        assert done.ticket == ticket
        np.testing.assert_allclose(done.heatmaps_chw, heatmaps, atol=2e-4)
        np.testing.assert_allclose(done.pafs_chw, pafs, atol=2e-4)
        assert done.heatmaps_chw.flags.owndata
    engine.close()


@pytest.mark.parametrize(("is_nhwc_in", "is_nhwc_out"), [(True, False), (False, True), (True, True)])
def test_axes_are_those_of_the_file(tiny_onnx, picture, wait, is_nhwc_in, is_nhwc_out):
    """An ONNX file whose picture or maps have their channels last gives the same maps as one that has them first."""
    pytest.importorskip("onnx", reason="the extra is not installed: pip install -e '.[import]'")
    kernel = write_own(tiny_onnx.weights.paths[0], is_nhwc_in=is_nhwc_in, is_nhwc_out=is_nhwc_out)
    taken, given = (TensorLayout.NHWC if each else TensorLayout.NCHW for each in (is_nhwc_in, is_nhwc_out))
    spec = dataclasses.replace(
        tiny_onnx.spec,
        input=dataclasses.replace(tiny_onnx.spec.input, layout=taken),
        heatmaps=dataclasses.replace(tiny_onnx.spec.heatmaps, layout=given),
        pafs=dataclasses.replace(tiny_onnx.spec.pafs, layout=given),
    )
    engine = OpenCvEngine(spec, tiny_onnx.weights)
    for size in ((64, 72), (104, 88)):
        engine.submit([0], [picture(*size)])
        (done,) = wait(engine)
        heatmaps, pafs = dataclasses.replace(tiny_onnx, spec=spec, kernel=kernel).expected(picture(*size))
        np.testing.assert_allclose(done.heatmaps_chw, heatmaps, atol=2e-4)
        np.testing.assert_allclose(done.pafs_chw, pafs, atol=2e-4)
    engine.close()


def test_requests_come_back_in_order(tiny_onnx, picture, wait):
    """Pictures up to the capacity come back in the order of submission, and one more is refused."""
    engine = OpenCvEngine(tiny_onnx.spec, tiny_onnx.weights, requests=3)
    for ticket in range(3):
        engine.submit([ticket], [picture(64, 64)])
    with pytest.raises(EngineError, match="all 3 requests are busy"):
        engine.submit([3], [picture(64, 64)])
    tickets = []
    while len(tickets) < 3:
        tickets += [done.ticket for done in wait(engine)]
    assert tickets == [0, 1, 2]
    assert engine.completed() == []
    engine.close()


def test_pictures_together_have_the_maps_that_they_have_alone(tiny_onnx, picture, wait):
    """Each picture of a batch has its own maps, for full batches and for smaller ones, of one size after another."""
    engine = OpenCvEngine(tiny_onnx.spec, tiny_onnx.weights, batch=3)
    assert (engine.batch, engine.capacity) == (3, 6)
    engine.prepare(64, 96)
    for size, count in (((64, 96), 3), ((64, 96), 2), ((128, 64), 3), ((64, 96), 1)):
        images = [np.random.default_rng(n).integers(0, 256, (*size, 3), np.uint8) for n in range(count)]
        engine.submit(range(count), images)
        done = []
        while len(done) < count:
            done += wait(engine)
        assert [one.ticket for one in done] == list(range(count))
        for one, image in zip(done, images, strict=True):
            heatmaps, pafs = tiny_onnx.expected(image)
            np.testing.assert_allclose(one.heatmaps_chw, heatmaps, atol=2e-4)
            np.testing.assert_allclose(one.pafs_chw, pafs, atol=2e-4)
            assert one.heatmaps_chw.flags.owndata
    engine.close()


def test_failed_inference_names_its_ticket(tiny_onnx, picture, wait, monkeypatch):
    """An inference that fails inside OpenCV wakes the owner, is raised with its ticket, and the engine goes on."""
    engine = OpenCvEngine(tiny_onnx.spec, tiny_onnx.weights)
    names = engine._net._names
    engine._net._names = ["no such output"]
    engine.submit([7], [picture(64, 64)])
    with pytest.raises(InferenceError, match="tiny: the inference failed") as caught:
        wait(engine)
    assert caught.value.tickets == (7,)
    assert "\n" not in str(caught.value)
    engine._net._names = names
    engine.submit([8], [picture(64, 64)])
    assert [done.ticket for done in wait(engine)] == [8]
    engine.close()


def test_close_finishes_what_runs(tiny_onnx, picture):
    """Closing ends the engine's thread after what was submitted."""
    engine = OpenCvEngine(tiny_onnx.spec, tiny_onnx.weights)
    engine.submit([0], [picture(64, 64)])
    engine.close()
    assert not engine._thread.is_alive()
    assert [done.ticket for done in engine.completed()] == [0]


def test_damaged_file_is_one_line(tiny_onnx, tmp_path):
    """A file that is no network is an EngineError of one line that names it."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"OpenCV cannot read .*tiny.onnx") as caught:
        OpenCvEngine(tiny_onnx.spec, Weights(tiny_onnx.spec, (path,)))
    assert "\n" not in str(caught.value)


def test_other_formats_and_precisions_are_refused(tiny_two, tiny_onnx):
    """An IR and bf16 are refused with what OpenCV has instead."""
    with pytest.raises(EngineError, match=r"it reads \.pb, \.onnx"):
        OpenCvEngine(tiny_two.spec, tiny_two.weights)
    with pytest.raises(EngineError, match="computes in f32 only"):
        open_engine(tiny_onnx.spec, tiny_onnx.weights, "opencv-cpu", precision="bf16")


def test_opened_by_device_string(tiny_onnx):
    """`open_engine` with device `opencv-cpu` gives this engine."""
    engine = open_engine(tiny_onnx.spec, tiny_onnx.weights, "opencv-cpu")
    engine.close()
    assert isinstance(engine, OpenCvEngine)
    assert engine.device == "opencv-cpu"
    assert engine.description.startswith("OpenCV ")


@pytest.mark.parametrize("device", ["opencv-cuda:99", "opencv-cuda", "cpu:1", "opencv-cpu:0"])
def test_absent_device_is_told(tiny_onnx, device):
    """A device that is not here is an error that names those that are."""
    with pytest.raises(EngineError, match=f"device {device} is not available here: there are .*opencv-cpu"):
        open_engine(tiny_onnx.spec, tiny_onnx.weights, device)


def test_device_families_are_read_from_the_string():
    """A device string's family is what stands before the colon, and unknown ones are refused."""
    assert device_family("opencv-cuda:3") == "opencv-cuda"
    with pytest.raises(EngineError, match=f"unknown device 'tpu:0': there are {', '.join(available_devices())}"):
        device_family("tpu:0")


def test_network_to_import_is_refused():
    """A Caffe file is refused in one line, whatever the device."""
    spec = load_registry()["openpose-mpi"]
    with pytest.raises(ModelError, match="is a Caffe file"):
        open_engine(spec, Weights(spec, ("openpose_pose_mpi.caffemodel",)), "cpu")


class FakeCuda:
    """OpenCV as it looks with two GPUs: notes what the network is told."""

    error = ValueError
    __version__ = "5.0"

    def __init__(self, targets=(6,), count=2):
        self.calls = []
        self.cuda = SimpleNamespace(
            getCudaEnabledDeviceCount=lambda: count, setDevice=lambda number: self.calls.append(("gpu", number))
        )
        self.dnn = SimpleNamespace(
            DNN_BACKEND_CUDA=5,
            DNN_TARGET_CUDA=6,
            DNN_TARGET_CUDA_FP16=7,
            ENGINE_CLASSIC=1,
            getAvailableTargets=lambda backend: targets,
            readNetFromTensorflow=None,
            readNetFromONNX=self._read,
            blobFromImages=lambda images, scale, mean: images,
        )

    def _read(self, path, engine=None):
        self.calls.append(("engine", engine))
        maps = np.zeros((4, 57, 8, 8), np.float32)
        return SimpleNamespace(
            setPreferableBackend=lambda backend: self.calls.append(("backend", backend)),
            setPreferableTarget=lambda target: self.calls.append(("target", target)),
            setInput=lambda blob: None,
            forward=lambda names: [maps],
        )


def test_gpus_are_counted_and_chosen(tiny_onnx, picture, wait, monkeypatch):
    """With a CUDA build each GPU is a device, and the chosen one is set in the thread that computes."""
    fake = FakeCuda()
    monkeypatch.setattr(opencv, "_load_opencv", lambda: fake)
    assert opencv.devices("opencv-cuda") == ("opencv-cuda:0", "opencv-cuda:1")
    engine = open_engine(tiny_onnx.spec, tiny_onnx.weights, "opencv-cuda:1")
    assert (engine.batch, engine.capacity) == (4, 8)
    engine.submit(range(4), [picture(64, 64)] * 4)
    done = []
    while len(done) < 4:
        done += wait(engine)
    assert [one.pafs_chw.shape for one in done] == [(38, 8, 8)] * 4
    engine.close()
    assert fake.calls == [("engine", 1), ("backend", 5), ("target", 6), ("gpu", 1)]
    assert "GPU 1" in engine.description


@pytest.mark.parametrize("fake", [FakeCuda(targets=()), FakeCuda(count=0)])
def test_no_gpu_is_no_device(fake, monkeypatch):
    """Without a CUDA build, or without a GPU, there is no such device."""
    monkeypatch.setattr(opencv, "_load_opencv", lambda: fake)
    assert opencv.devices("opencv-cuda") == ()


def test_half_precision_is_another_target(tiny_onnx, monkeypatch):
    """f16 on a GPU that has it is OpenCV's target for it, and an error on one that has not."""
    fake = FakeCuda(targets=(6, 7))
    monkeypatch.setattr(opencv, "_load_opencv", lambda: fake)
    engine = open_engine(tiny_onnx.spec, tiny_onnx.weights, "opencv-cuda:0", precision="f16")
    engine.close()
    assert ("target", 7) in fake.calls
    assert engine.description.endswith("f16")
    monkeypatch.setattr(opencv, "_load_opencv", FakeCuda)
    with pytest.raises(EngineError, match="opencv-cuda:0: this OpenCV or GPU has no f16"):
        open_engine(tiny_onnx.spec, tiny_onnx.weights, "opencv-cuda:0", precision="f16")
