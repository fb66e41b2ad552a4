from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from posestream.models.choice import choose
from posestream.models.errors import EngineError, FetchError, ModelError
from posestream.models.registry import load_registry
from posestream.models.weights import Weights

INT8, THIN = "human-pose-estimation-0001-int8", "mobilenet-thin"
REGISTRY = load_registry([])
#: What the reason says of the device where there is no GPU.
NO_GPU = "; the device is cpu, since no cuda is here and no opencv-cuda is here"


class FakeStore:
    """Has some networks, can fetch some, and notes what it was asked to fetch."""

    places = "/models"

    def __init__(self, here=(), reachable=(), damaged=()):
        self.here = set(here)
        self.reachable = set(reachable)
        self.damaged = set(damaged)
        self.asked = []

    def locate(self, spec):
        if spec.name in self.damaged:
            raise ModelError(f"{spec.name}: damaged")
        return Weights(spec, (Path("/models", spec.name, "x"),)) if spec.name in self.here else None

    def fetch(self, spec, accept_licence=False, progress=None, patience=None):
        self.asked.append((spec.name, patience is not None))
        if spec.name not in self.reachable:
            raise FetchError(f"cannot fetch {spec.files[0].name}: no such host", "check the network")
        self.here.add(spec.name)
        return self.locate(spec)


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    """Give a machine without a GPU; what is put in here is there too."""
    found = {"cpu": ("cpu",)}
    monkeypatch.setattr("posestream.models.choice.devices_of", lambda family: found.get(family, ()))
    return found


@pytest.mark.parametrize(
    ("here", "reachable", "device", "expected", "asked"),
    [
        ([INT8, THIN], [], "auto", INT8, []),
        ([INT8], [], "auto", INT8, []),
        ([], [INT8, THIN], "auto", INT8, [(INT8, False)]),
        ([THIN], [INT8], "cpu", INT8, [(INT8, True)]),
        ([THIN], [], "cpu", THIN, [(INT8, True)]),
        ([], [THIN], "cpu", THIN, [(INT8, False), (THIN, False)]),
        ([INT8, THIN], [], "opencv-cpu", THIN, []),
        ([INT8], [THIN], "opencv-cuda:0", THIN, [(THIN, False)]),
    ],
)
def test_auto_takes_the_fastest_that_can_be_had(here, reachable, device, expected, asked):
    """`auto` takes the first network that the device runs and that is here or fetched, waiting little if it can."""
    store = FakeStore(here, reachable)
    choice = choose("auto", device, store, REGISTRY)
    assert choice.spec.name == expected
    assert choice.device == ("cpu" if device == "auto" else device)
    assert store.asked == asked
    assert choice.weights.spec is choice.spec


def test_reason_tells_why_a_gpu_is_not_used(monkeypatch):
    """A GPU whose libraries are missing is passed over by `auto`, which says what is missing."""
    monkeypatch.setattr(
        "posestream.models.choice.obstacle", lambda family: "a GPU is here, no libcublas" if family == "cuda" else ""
    )
    choice = choose("auto", "auto", FakeStore([THIN, INT8]), REGISTRY)
    assert choice.device == "cpu"
    assert choice.reason.endswith("; the device is cpu, since a GPU is here, no libcublas and no opencv-cuda is here")


def test_reason_tells_why_another_was_passed_over():
    """The reason names the network, the device, and why the faster one was not taken, in one line."""
    fallback = choose("auto", "auto", FakeStore([THIN]), REGISTRY).reason
    assert fallback == (
        f"{THIN} on cpu from /models/{THIN}: {INT8} is not here, "
        f"cannot fetch human-pose-estimation-0001.xml: no such host{NO_GPU}"
    )
    assert f"opencv-cpu cannot run {INT8}" in choose("auto", "opencv-cpu", FakeStore([THIN]), REGISTRY).reason
    assert choose("auto", "auto", FakeStore([INT8]), REGISTRY).reason.endswith(f"can run{NO_GPU}")


def test_nothing_to_be_had_tells_all_reasons():
    """Where no network can be had, one line tells why for each, where was looked and what to do."""
    with pytest.raises(ModelError, match="no network for device cpu") as caught:
        choose("auto", "auto", FakeStore(), REGISTRY)
    text = str(caught.value)
    assert INT8 in text
    assert THIN in text
    assert "looked in /models" in text
    assert "POSESTREAM_MODELS" in text
    assert "\n" not in text


def test_named_network_never_falls_back():
    """A network that was named is used, fetched or fails; no other one takes its place."""
    assert choose(THIN, "auto", FakeStore([INT8, THIN]), REGISTRY).spec.name == THIN
    assert choose(THIN, "auto", FakeStore([INT8], [THIN]), REGISTRY).reason == (
        f"{THIN} on cpu, as asked, fetched to /models/{THIN}{NO_GPU}"
    )
    with pytest.raises(FetchError, match="no such host"):
        choose(INT8, "auto", FakeStore([THIN]), REGISTRY)


def test_damaged_network_is_not_passed_over():
    """`auto` does not go on to another network where the better one is here and damaged."""
    with pytest.raises(ModelError, match="damaged"):
        choose("auto", "auto", FakeStore([THIN], damaged=[INT8]), REGISTRY)
    assert choose("auto", "auto", FakeStore([INT8], damaged=[THIN]), REGISTRY).spec.name == INT8


def test_device_that_cannot_run_it_is_told():
    """A named network on a device that cannot run it is an error that names the devices that can."""
    with pytest.raises(EngineError, match=f"device opencv-cpu cannot run {INT8}: choose one of cpu"):
        choose(INT8, "opencv-cpu", FakeStore([INT8]), REGISTRY)


def test_unknown_names_are_told():
    """Unknown networks and devices are refused with those that there are."""
    with pytest.raises(ModelError, match="did you mean 'mobilenet-thin'"):
        choose("mobilenetthin", "auto", FakeStore(), REGISTRY)
    with pytest.raises(EngineError, match=r"unknown device 'gpu': there are .*cpu"):
        choose("auto", "gpu", FakeStore(), REGISTRY)


def test_caffe_networks_are_told_to_need_an_importer():
    """A network that comes as a Caffe file is refused in one line before anything is fetched."""
    store = FakeStore(reachable=["openpose-coco"])
    with pytest.raises(ModelError, match="comes as a Caffe file"):
        choose("openpose-coco", "auto", store, REGISTRY)
    assert store.asked == []


@pytest.mark.parametrize(
    ("here", "able", "expected"),
    [
        ({"cuda": ("cuda:0", "cuda:1"), "tensorrt": ("tensorrt:0",)}, None, "cuda:0"),
        ({"opencv-cuda": ("opencv-cuda:0",), "intel-gpu": ("intel-gpu",)}, None, "opencv-cuda:0"),
        ({"cuda": ("cuda:0",)}, ("cpu", "opencv-cpu"), "cpu"),
        ({"intel-gpu": ("intel-gpu",), "npu": ("npu",)}, None, "cpu"),
    ],
)
def test_auto_device_follows_its_order(devices, here, able, expected):
    """`auto` takes the first family of its order that is here and can run the network, and says why."""
    devices.update(here)
    registry = dict(REGISTRY)
    if able is not None:
        registry[THIN] = dataclasses.replace(REGISTRY[THIN], devices=able)
    choice = choose(THIN, "auto", FakeStore([THIN]), registry)
    assert choice.device == expected
    assert f"; the device is {expected}, " in choice.reason


def test_auto_without_a_device_tells_why(devices):
    """A network that only devices outside the order of `auto` can run is an error that says to name one."""
    registry = {**REGISTRY, THIN: dataclasses.replace(REGISTRY[THIN], devices=("ort-cpu",))}
    with pytest.raises(EngineError, match=r"no device for auto: cuda cannot run mobilenet-thin.*name another"):
        choose(THIN, "auto", FakeStore([THIN]), registry)
