"""People whose keypoints are written down, so that no change of the network's output or of grouping slips in unseen.

Where a change is meant: POSESTREAM_GOLDEN=write python -m pytest tests/test_golden.py, and look at the difference.
"""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posestream.models.engines import open_engine
from posestream.models.layout import LAYOUTS
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.bench.group import planted_crowd
from posestream.pipeline.evaluate import pose_pictures
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.group.settings import Implementation
from posestream.stages.items import Poses

from .e2e import ROOT, write_picture
from .figure import draw_person

_FOLDER = Path(__file__).parent / "golden"
#: What other processors may make of the same network: int8 sums are rounded in other places, which moves a keypoint
#: by a small part of a cell. A cell is 20 pixels of the drawn picture.
_NETWORK_PX, _NETWORK_SCORE = 1.0, 0.02
#: What other processors and versions of NumPy and OpenCV may make of the same maps. A cell is 8 pixels here.
_MAPS_PX, _MAPS_SCORE = 0.01, 0.0005


def check(name: str, poses: Poses, within_px: float, within_score: float) -> None:
    """Compare people with those that are written down."""
    path = _FOLDER / f"{name}.json"
    if os.environ.get("POSESTREAM_GOLDEN") == "write":
        path.write_text(_written(poses), "utf-8")
        pytest.skip(f"wrote {path}")
    golden: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    assert len(poses.people) == len(golden)
    for person, known in zip(poses.people, golden, strict=True):
        keypoints = np.array([keypoint or [np.nan] * 3 for keypoint in known["keypoints"]])
        np.testing.assert_allclose(person.keypoints[:, :2], keypoints[:, :2], rtol=0, atol=within_px)
        np.testing.assert_allclose(person.keypoints[:, 2], keypoints[:, 2], rtol=0, atol=within_score)
        assert abs(person.score - known["score"]) <= within_score


def _written(poses: Poses) -> str:
    """Write people as JSON, a keypoint a line, so that differences can be read."""
    people = []
    for person in poses.people:
        rows = [
            None if np.isnan(row).any() else [round(value, 4) for value in row] for row in person.keypoints.tolist()
        ]
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        people.append(f'{{"score": {person.score:.4f}, "keypoints": [\n  {lines}]}}')
    return "[" + ",\n".join(people) + "]\n"


@pytest.mark.parametrize("name", ["human-pose-estimation-0001-int8", "mobilenet-thin"])
def test_a_network_sees_the_drawn_person_where_it_did(name: str, tmp_path: Path) -> None:
    """From a picture file to keypoints, each network finds the drawn person whole, at the places written down."""
    spec = load_registry()[name]
    store = WeightStore.from_environment()
    weights = store.locate(spec) or WeightStore((ROOT.parent / "shared" / "models",), tmp_path).locate(spec)
    if weights is None:
        pytest.skip(f"{name} is not here: posestream models fetch {name}")
    picture = write_picture(tmp_path / "drawn.png", draw_person())
    with closing(open_engine(spec, weights, "cpu", "f32", 1)) as engine:
        (seen,) = pose_pictures([(0, picture)], spec, engine, 256, GroupSettings())
    assert len(seen.poses.people) == 1
    assert np.isfinite(seen.poses.people[0].keypoints).all()
    check(name, seen.poses, _NETWORK_PX, _NETWORK_SCORE)


@pytest.mark.parametrize("implementation", ["auto", "numpy"])
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_planted_people_are_grouped_as_they_were(name: str, implementation: Implementation) -> None:
    """The same field maps, with noise and people before each other, give the same people as ever, for all layouts."""
    group = Group(LAYOUTS[name], GroupSettings(implementation=implementation))
    check(f"planted-{name}", group(planted_crowd(LAYOUTS[name], 6, (32, 57), 7).maps), _MAPS_PX, _MAPS_SCORE)
