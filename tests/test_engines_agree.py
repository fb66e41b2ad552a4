"""The same picture gives the same people on every engine that is here; those that are not are told as skipped."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from posestream.models.engines import AUTO_FAMILIES, devices_of, open_engine
from posestream.models.registry import load_registry
from posestream.models.weights import Weights, WeightStore
from posestream.pipeline.evaluate import pose_pictures
from posestream.stages.group.group import GroupSettings
from posestream.stages.items import Person

from .e2e import ROOT, real_network, write_picture
from .figure import draw_person

FAMILIES = ("intel-gpu", "npu", "ort-cpu", "opencv-cpu", "opencv-cuda", "cuda", "tensorrt")
#: A photograph with people at several sizes, where it is at hand.
PHOTOGRAPH = ROOT.parent / "shared" / "eval" / "dev" / "images" / "000000340451.jpg"
NET_HEIGHT = 256


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with somebody in it."""
    if PHOTOGRAPH.exists():
        return PHOTOGRAPH
    path = tmp_path_factory.mktemp("picture") / "drawn.png"
    write_picture(path, draw_person(640, 480, 300))
    return path


def find(name: str) -> Weights:
    """Give a network's files, or skip."""
    weights = WeightStore.from_environment(real_network()).locate(load_registry()[name])
    if weights is None:
        pytest.skip(f"{name} is not here: posestream models fetch {name}")
    return weights


def device_of(family: str) -> str:
    """Give the first device of a family, or skip and say so."""
    found = devices_of(family)
    if not found:
        pytest.skip(f"no {family} is here, so that it could not be compared with the others")
    if family == "ort-cpu":
        pytest.importorskip("onnx")
    return found[0]


def people(weights: Weights, device: str, path: Path, precision: str = "f32") -> list[Person]:
    """Give the people that an engine finds, the surest first."""
    with closing(open_engine(weights.spec, weights, device, precision, 1)) as engine:
        (posed,) = pose_pictures([(0, path)], weights.spec, engine, NET_HEIGHT, GroupSettings())
    return sorted(posed.poses.people, key=lambda person: -person.score)


def maps(weights: Weights, device: str, path: Path, precision: str) -> np.ndarray:
    """Give what an engine computes for a picture."""
    kept: list[np.ndarray] = []

    with closing(open_engine(weights.spec, weights, device, precision, 1)) as engine:
        take = engine.completed

        def completed() -> list:
            done = take()
            kept.extend(np.concatenate([one.heatmaps_chw, one.pafs_chw]) for one in done)
            return done

        engine.completed = completed  # type: ignore[method-assign] # what passes by is kept
        list(pose_pictures([(0, path)], weights.spec, engine, NET_HEIGHT, GroupSettings()))
    return kept[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_float_network_finds_the_same_people_everywhere(family: str, picture: Path) -> None:
    """In float32 every engine finds OpenVINO's people, each keypoint within 1 px at the picture's own size."""
    weights, device = find("mobilenet-thin"), device_of(family)
    expected, found = people(weights, "cpu", picture), people(weights, device, picture)
    assert expected
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.keypoints[:, :2], other.keypoints[:, :2], atol=1.0, equal_nan=True)


@pytest.mark.parametrize("precision", ["auto", "f32"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if not family.startswith("opencv")])
def test_int8_network_differs_by_rounding_alone(family: str, precision: str, picture: Path) -> None:
    """The int8 network's maps differ from OpenVINO's by a small root mean square, in int8 and as floats."""
    weights, device = find("human-pose-estimation-0001-int8"), device_of(family)
    difference = maps(weights, device, picture, precision) - maps(weights, "cpu", picture, "f32")
    assert np.sqrt(np.mean(difference**2)) < 0.01


def test_every_family_is_compared() -> None:
    """No family of the order of `auto` is forgotten here."""
    assert set(AUTO_FAMILIES) <= {*FAMILIES, "cpu"}
