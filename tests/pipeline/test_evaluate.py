"""Accuracy: labels, results and the stages that are measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from posestream.models.engines.fake import FakeEngine
from posestream.models.layout import LAYOUTS
from posestream.models.registry import find_network, load_registry
from posestream.pipeline.annotations import read_annotations
from posestream.pipeline.bench.group import found_exactly, group_command, planted_crowd
from posestream.pipeline.commands.bench import hop_command
from posestream.pipeline.commands.eval import eval_command
from posestream.pipeline.evaluate import Labels, Timed, evaluate, pose_pictures
from posestream.stages.errors import OutputError, SettingsError, SourceError
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.group.synthetic import planted_maps, standing_person
from posestream.stages.items import FieldMaps, FrameKey, Person, Poses, Transform, frozen
from posestream.stages.output.coco import COCO_KEYPOINTS, coco_results

LAYOUT = LAYOUTS["openpose-18"]
SPEC = find_network("mobilenet-thin", load_registry())
SIZE_MAP = (32, 40)


@pytest.fixture
def people() -> np.ndarray:
    """Two people in cells, well inside the picture."""
    standing = standing_person(LAYOUT)
    return np.stack([standing * 24 + (10, 4), standing * 18 + (28, 8)]).astype(np.float32)


@pytest.fixture
def labelled(tmp_path: Path, people: np.ndarray) -> Path:
    """A folder with one picture of 320×256, in which these people are labelled, and one without labels."""
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((256, 320, 3), np.uint8))
    annotations = []
    for number, person in enumerate(people, 1):
        xy = person[[LAYOUT.keypoints.index(name) for name in COCO_KEYPOINTS]] * 8 - 0.5
        is_there = np.isfinite(xy[:, :1])
        low, high = np.nanmin(xy, axis=0), np.nanmax(xy, axis=0)
        annotations.append(
            {
                "id": number,
                "image_id": 7,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [*low.tolist(), *(high - low).tolist()],
                "area": float(np.prod(high - low)) * 0.5,
                "keypoints": np.where(is_there, np.hstack([xy, np.full((17, 1), 2)]), 0).ravel().tolist(),
                "num_keypoints": int(is_there.sum()),
            }
        )
    images = [{"id": 7, "file_name": "one.png"}, {"id": 8, "file_name": "nobody.png"}]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth), "utf-8")
    return tmp_path


def posed(labelled: Path, labels: Labels, people: np.ndarray) -> list[Timed]:
    """Give the people that the stages find when the network's output is perfect."""
    engine = FakeEngine(SPEC, lambda image: planted_maps(LAYOUT, people, (image.shape[0] // 8, image.shape[1] // 8)))
    return list(pose_pictures(labels.pictures(labelled), SPEC, engine, 256, GroupSettings()))


def test_perfect_fields_give_perfect_precision(labelled: Path, people: np.ndarray) -> None:
    """Where the network's output is perfect, so are AP and AR, over the pictures with labels only."""
    pytest.importorskip("pycocotools")
    labels = Labels(labelled / "truth.json")

    figures = evaluate(labels, posed(labelled, labels, people), LAYOUT)

    assert (figures["AP"], figures["AR"], figures["images"], figures["people"]) == (1.0, 1.0, 1, 2)
    assert figures["network_ms"] == 10.0


def test_people_are_those_of_the_stages(labelled: Path, people: np.ndarray) -> None:
    """What is measured is bit for bit what `Group` gives for the same maps."""
    pytest.importorskip("pycocotools")
    (measured,) = posed(labelled, Labels(labelled / "truth.json"), people)
    maps = FieldMaps(FrameKey("x", 0), *planted_maps(LAYOUT, people, SIZE_MAP), 8, Transform(1.0, 1.0, 320, 256))

    expected = Group(LAYOUT)(maps).people

    assert len(measured.poses.people) == len(expected) == 2
    for mine, theirs in zip(measured.poses.people, expected, strict=True):
        np.testing.assert_array_equal(mine.keypoints, theirs.keypoints)
        assert mine.score == theirs.score


def test_nobody_found_is_zero(labelled: Path, tmp_path: Path) -> None:
    """A network that finds nobody has an AP of 0, and its results are an empty list."""
    pytest.importorskip("pycocotools")
    labels = Labels(labelled / "truth.json")
    nobody = [Timed(7, Poses(FrameKey("x", 0), ()), 0.01, 0.001)]

    figures = evaluate(labels, nobody, LAYOUT, tmp_path / "results.json")

    assert [figures[name] for name in ("AP", "AP50", "AP75", "AR")] == [0.0] * 4
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == []


@pytest.mark.parametrize("is_anybody_found", [False, True])
@pytest.mark.parametrize(("area", "empty", "full"), [(99.0**2, "APm", "APl"), (50.0**2, "APl", "APm")])
def test_a_size_that_nobody_has_has_no_figure(
    labelled: Path, people: np.ndarray, area: float, empty: str, full: str, is_anybody_found: bool
) -> None:
    """Where nobody of a size is labelled its figure is null, neither −1 nor 0; the other one's is a number."""
    pytest.importorskip("pycocotools")
    truth = json.loads((labelled / "truth.json").read_text("utf-8"))
    for annotation in truth["annotations"]:
        annotation["area"] = area
    (labelled / "truth.json").write_text(json.dumps(truth), "utf-8")
    labels = Labels(labelled / "truth.json")
    found = posed(labelled, labels, people) if is_anybody_found else [Timed(7, Poses(FrameKey("x", 0), ()), 0.1, 0.1)]

    figures = json.loads(json.dumps(evaluate(labels, found, LAYOUT)))

    assert figures[empty] is None
    assert figures[full] == (1.0 if is_anybody_found else 0.0)


def test_results_are_in_cocos_order_and_count_from_pixel_centres() -> None:
    """COCO's 17 keypoints are taken by name, half a pixel less, and zeros where a layout lacks one."""
    keypoints = np.full((15, 3), np.nan, np.float32)
    keypoints[LAYOUTS["openpose-15"].keypoints.index("left_ankle")] = (10.0, 20.0, 0.9)
    poses = Poses(FrameKey("x", 0), (Person(frozen(keypoints), 0.25),))

    (entry,) = coco_results(3, poses, LAYOUTS["openpose-15"])

    assert (entry["image_id"], entry["category_id"], entry["score"]) == (3, 1, 0.25)
    place = 3 * COCO_KEYPOINTS.index("left_ankle")
    assert entry["keypoints"][place : place + 3] == [9.5, 19.5, 1.0]
    assert sum(value != 0 for value in entry["keypoints"]) == 3


def test_a_missing_picture_is_named(labelled: Path) -> None:
    """A labelled picture that is not there is one line that names it."""
    pytest.importorskip("pycocotools")
    (labelled / "one.png").unlink()

    with pytest.raises(SourceError, match=r"1 of 1 labelled pictures are missing, such as .*one\.png"):
        Labels(labelled / "truth.json").pictures(labelled)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [], "annotations": [], "categories": []}'])
def test_what_is_not_an_annotation_file_is_refused(tmp_path: Path, text: str) -> None:
    """Files that hold no labelled keypoints are an error that names them."""
    pytest.importorskip("pycocotools")
    (tmp_path / "other.json").write_text(text, "utf-8")

    with pytest.raises(SourceError, match=r"other\.json"):
        Labels(tmp_path / "other.json")


ABSENT = object()

#: A list of the file, a key of its first entry, a value for it, and what is said.
FAULTS = [
    ("annotations", "area", ABSENT, r'annotations\[0\] \(id 1\) has no "area"'),
    ("annotations", "area", float("inf"), r'annotations\[0\] \(id 1\) has no "area"'),
    ("annotations", "bbox", ABSENT, r'annotations\[0\] \(id 1\) has no "bbox" that are 4 numbers'),
    ("annotations", "iscrowd", ABSENT, r'annotations\[0\] \(id 1\) has no "iscrowd"'),
    ("annotations", "num_keypoints", "x", r'annotations\[0\] \(id 1\) has no "num_keypoints"'),
    ("annotations", "keypoints", ABSENT, r'annotations\[0\] \(id 1\) has no "keypoints" that are 51 numbers'),
    ("annotations", "keypoints", [1, 2, 3], r'annotations\[0\] \(id 1\) has no "keypoints" that are 51 numbers'),
    ("annotations", "keypoints", ["a"] + [0] * 50, r'annotations\[0\] \(id 1\) has no "keypoints"'),
    ("annotations", "keypoints", [float("nan")] + [0] * 50, r'annotations\[0\] \(id 1\) has no "keypoints"'),
    ("annotations", "id", 2, r"annotations\[1\] has the id 2, as annotations\[0\] \(id 2\) has"),
    ("annotations", "id", 0, r'annotations\[0\] has no "id" that is a whole number from 1 on'),
    ("annotations", "image_id", 99, r"annotations\[0\] \(id 1\) is of the picture 99, which is not among the images"),
    ("annotations", "category_id", 7, r"annotations\[0\] \(id 1\) is of the category 7, which is not listed"),
    ("images", "id", 8, r"images\[1\] has the id 8, as images\[0\] \(id 8\) has"),
    ("images", "file_name", 5, r'images\[0\] \(id 7\) has no "file_name"'),
    ("categories", "id", 3, r"the categories lack 1, which is people"),
    ("images", None, ABSENT, r'"images" is empty'),
    ("categories", None, ABSENT, r'"categories" is empty'),
]


@pytest.mark.parametrize(("key", "field", "value", "said"), FAULTS)
def test_faulty_annotations_are_named(labelled: Path, key: str, field: str | None, value: object, said: str) -> None:
    """Each fault of an annotation file is one error that names the entry, before any picture is looked at."""
    truth = json.loads((labelled / "truth.json").read_text("utf-8"))
    if field is None:
        truth[key] = []
    elif value is ABSENT:
        del truth[key][0][field]
    else:
        truth[key][0][field] = value
    (labelled / "faulty.json").write_text(json.dumps(truth), "utf-8")

    with pytest.raises(SourceError, match=rf"faulty\.json: {said}"):
        read_annotations(labelled / "faulty.json")


def test_results_that_cannot_be_written_are_refused_first(labelled: Path) -> None:
    """A path that cannot be written is told before annotations are read; an existing one asks for --overwrite."""
    pytest.importorskip("pycocotools")
    (labelled / "file").write_text("x", "utf-8")
    command = ["--images", str(labelled), "--annotations", str(labelled / "missing.json"), "--save-results"]

    with pytest.raises(OutputError, match=r"file"):
        CliRunner().invoke(eval_command, [*command, str(labelled / "file" / "x.json")], catch_exceptions=False)
    with pytest.raises(SettingsError, match=r"--overwrite"):
        CliRunner().invoke(eval_command, [*command, str(labelled / "file")], catch_exceptions=False)
    # The next thing that is wrong is told where the results may be replaced.
    with pytest.raises(SourceError, match=r"missing\.json"):
        CliRunner().invoke(eval_command, [*command, str(labelled / "file"), "--overwrite"], catch_exceptions=False)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_results_without_room_are_refused_first(labelled: Path) -> None:
    """A device that takes nothing, as a full disk does, is told before annotations are read."""
    pytest.importorskip("pycocotools")
    (labelled / "full.json").symlink_to("/dev/full")
    command = ["--images", str(labelled), "--annotations", str(labelled / "missing.json"), "--overwrite"]

    for name in ("/dev/full", str(labelled / "full.json")):
        with pytest.raises(OutputError, match=r"No space left on device"):
            CliRunner().invoke(eval_command, [*command, "--save-results", name], catch_exceptions=False)


@pytest.mark.parametrize("name", ["pictures/one.png", "pictures/nobody.png", "elsewhere.png", "link.json"])
def test_results_never_replace_an_input(labelled: Path, name: str) -> None:
    """No picture of the folder, nor one that the annotations name elsewhere, is written over, even with --overwrite."""
    pytest.importorskip("pycocotools")
    pictures = labelled / "pictures"
    pictures.mkdir()
    for path in (pictures / "nobody.png", labelled / "elsewhere.png"):
        path.write_bytes((labelled / "one.png").read_bytes())
    (labelled / "one.png").rename(pictures / "one.png")
    (labelled / "link.json").symlink_to(labelled / "truth.json")
    truth = json.loads((labelled / "truth.json").read_text("utf-8"))
    truth["images"][0]["file_name"] = "../elsewhere.png" if name == "elsewhere.png" else "one.png"
    (labelled / "truth.json").write_text(json.dumps(truth), "utf-8")
    before = (labelled / name).read_bytes()
    inputs = ["--images", str(pictures), "--annotations", str(labelled / "truth.json")]

    with pytest.raises(SettingsError, match="is also an input"):
        CliRunner().invoke(
            eval_command, [*inputs, "--save-results", str(labelled / name), "--overwrite"], catch_exceptions=False
        )

    assert (labelled / name).read_bytes() == before


def test_a_missing_tool_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without pycocotools the error says what to install."""
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)

    with pytest.raises(SettingsError, match=r"posestream\[eval\]"):
        Labels(tmp_path / "truth.json")


def test_bench_group_reports_each_crowd() -> None:
    """`bench group` ends with JSON that has a run for each number of people, and all planted people are found."""
    done = CliRunner().invoke(group_command, ["--people", "0,1,3", "--rounds", "1"], catch_exceptions=False)

    runs = json.loads(done.stdout.splitlines()[-1])["runs"]
    assert [run["people"] for run in runs] == [0, 1, 3]
    assert all({"ms", "p99_ms", "planted", "found_exactly"} <= run.keys() for run in runs)
    assert runs[1]["found_exactly"] == runs[1]["planted"]


def test_bench_hop_tells_every_round() -> None:
    """`bench hop` tells each round's latency beside the median, for every transport, payload and way of sending."""
    done = CliRunner().invoke(hop_command, ["--hops", "10", "--rounds", "1"], catch_exceptions=False)

    runs = json.loads(done.stdout.splitlines()[-1])["runs"]
    assert len({(run["transport"], run["payload"], run["is_copied"]) for run in runs}) == 12
    assert all(run["rounds_us"] == [run["us"]] and min(run["stream_us"], run["cpu_us"]) > 0 for run in runs)


@pytest.mark.parametrize("text", ["ten", "1,,2", "-1"])
def test_bench_group_refuses_counts_without_sense(text: str) -> None:
    """A list of people that is none is a usage error."""
    assert CliRunner().invoke(group_command, ["--people", text, "--rounds", "1"]).exit_code == 2


def test_found_exactly_counts_whole_people_only() -> None:
    """A planted person with one joint away, missing or too many is not counted."""
    crowd = planted_crowd(LAYOUT, 3, SIZE_MAP, 1)
    poses = Group(LAYOUT)(crowd.maps)
    moved = crowd.people_map.copy()
    moved[0, np.flatnonzero(np.isfinite(moved[0, :, 0]))[0]] += 1

    assert found_exactly(poses, crowd.people_map) == 3
    assert found_exactly(poses, moved) == 2
