from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from posestream.models.engines import open_engine
from posestream.models.errors import EngineError
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore

SHARED = Path(__file__).parents[3] / "shared"
IMAGES = SHARED / "eval" / "dev" / "images"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """What the user has, and the shared folder; compiled networks go elsewhere."""
    store = WeightStore.from_environment()
    store._folders += (SHARED / "models",)
    monkeypatch.setenv("POSESTREAM_CACHE", str(tmp_path))
    return store


def find(store, name):
    """Give a network's files, or skip."""
    weights = store.locate(load_registry()[name])
    if weights is None:
        pytest.skip(f"{name} is not here: posestream models fetch {name}")
    return weights


@pytest.fixture
def person():
    """A picture with a person in full, 384×256 BGR."""
    image = cv2.imread(str(IMAGES / "000000340451.jpg")) if IMAGES.is_dir() else None
    if image is None:
        pytest.skip("../shared/eval is absent beside the repository")
    return cv2.resize(image, (384, 256))


def maps(weights, device, image, wait, precision="auto"):
    """Run one picture on one device."""
    engine = open_engine(weights.spec, weights, device, precision)
    engine.submit([0], [image])
    (done,) = wait(engine)
    engine.close()
    return done


def test_int8_network_finds_people(store, person, wait):
    """The int8 network gives maps of the right size in which heatmaps and background complement each other."""
    weights = find(store, "human-pose-estimation-0001-int8")
    done = maps(weights, "cpu", person, wait)
    assert (done.heatmaps_chw.shape, done.pafs_chw.shape) == ((19, 32, 48), (38, 32, 48))
    assert done.heatmaps_chw[:18].max() > 0.5
    assert done.heatmaps_chw[18].mean() > 0.8
    assert np.abs(done.pafs_chw).max() > 0.3


def test_int8_network_is_not_for_opencv(store):
    """The int8 network on OpenCV is refused with the device that runs it."""
    weights = find(store, "human-pose-estimation-0001-int8")
    with pytest.raises(EngineError, match="choose one of cpu"):
        open_engine(weights.spec, weights, "opencv-cpu")


def test_openvino_and_opencv_agree(store, person, wait):
    """Both engines give the same maps for mobilenet-thin: heatmaps first, background last, then PAFs."""
    weights = find(store, "mobilenet-thin")
    on_openvino = maps(weights, "cpu", person, wait, "f32")
    on_opencv = maps(weights, "opencv-cpu", person, wait)
    np.testing.assert_allclose(on_openvino.heatmaps_chw, on_opencv.heatmaps_chw, atol=1e-4)
    np.testing.assert_allclose(on_openvino.pafs_chw, on_opencv.pafs_chw, atol=1e-4)
    assert on_openvino.heatmaps_chw[:18].max() > 0.3
    assert on_openvino.heatmaps_chw[18].mean() > 0.8
