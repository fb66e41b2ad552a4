"""What is evaluated is what runs: `eval` and the pipeline find the same people, to the last digit that is told."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from posestream.models.choice import choose
from posestream.models.engines import open_engine
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.evaluate import pose_pictures
from posestream.pipeline.job import plan_job
from posestream.pipeline.settings import Settings
from posestream.pipeline.supervision.crew import start_job
from posestream.stages.items import Poses
from posestream.stages.message import MessageWriter
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended
from posestream.stages.source.opening import SourceInfo, SourceSettings, open_source

from .e2e import DEADLINE_S, ROOT, messages, real_network, run_program, write_picture
from .figure import draw_person

#: More sizes than an engine compiles a network of its own for, so that the one for all sizes is used too.
_SIZES = ((480, 640), (400, 600), (640, 640), (330, 610), (711, 640), (513, 620))
#: Photographs that are taken into the folder where they are at hand.
_PHOTOGRAPHS = ROOT.parent / "shared" / "eval" / "dev" / "images"
#: Seen once, and seen four times.
_SETTINGS: list[dict[str, Any]] = [{}, {"flip": True, "scales": [1.0, 0.6]}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several sizes with somebody in each."""
    made = tmp_path_factory.mktemp("pictures")
    for number, (width, height) in enumerate(_SIZES):
        write_picture(made / f"drawn{number}.png", draw_person(width, height, width // 2 - 20))
    for path in sorted(_PHOTOGRAPHS.glob("*.jpg"))[:4]:
        shutil.copy(path, made)
    return made


def evaluated(folder: Path, environment: dict[str, str], network: dict[str, Any]) -> dict[str, Poses]:
    """Give each picture's people as `eval` finds them, the last picture first, with one request."""
    settings = Settings.parse({"network": network})
    choice = choose("auto", "cpu", WeightStore.from_environment(environment), load_registry())
    paths = sorted(folder.iterdir(), reverse=True)
    seen, height = settings.network.ensemble, settings.network.net_height
    with closing(open_engine(choice.spec, choice.weights, choice.device, "auto", 1)) as engine:
        posed = list(pose_pictures(enumerate(paths), choice.spec, engine, height, settings.group, seen))
    return {path.name: timed.poses for path, timed in zip(paths, posed, strict=True)}


@pytest.fixture(scope="module", params=_SETTINGS, ids=["once", "mirrored and smaller"])
def network(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The `[network]` table."""
    table: dict[str, Any] = request.param
    return table


@pytest.fixture(scope="module")
def expected(folder: Path, network: dict[str, Any]) -> dict[str, Poses]:
    """What `eval` finds."""
    return evaluated(folder, real_network(), network)


class _Keeper:
    """An output that keeps people as they are."""

    def __init__(self, _source: str) -> None:
        self.name = "keeper"
        self.paths: tuple[Path, ...] = ()
        self.poses: dict[str, Poses] = {}

    def resume(self, source: str, since_s: float) -> Held | None:
        return None

    def open(self, info: SourceInfo) -> None:
        pass

    def write(self, ended: Ended) -> None:
        assert isinstance(ended.outcome, Poses)
        assert ended.frame.name is not None
        self.poses[ended.frame.name] = ended.outcome

    def close(self) -> None:
        pass


def test_evaluated_people_are_bit_for_bit_those_of_the_pipeline(
    folder: Path, network: dict[str, Any], expected: dict[str, Poses]
) -> None:
    """Every float of every keypoint and score is the same, whatever order, streams and compiled sizes there were."""
    environment = real_network()
    kept: list[_Keeper] = []

    def keep(source: str) -> _Keeper:
        kept.append(_Keeper(source))
        return kept[0]

    raw = {"network": network, "source": [{"url": str(folder)}], "replicas": {"per_device": 2}}
    supervisor = start_job(plan_job(Settings.parse(raw), WeightStore.from_environment(environment)), [keep])
    deadline_s = time.monotonic() + DEADLINE_S
    while supervisor.is_running and not supervisor.has_crashed and time.monotonic() < deadline_s:
        supervisor.wait(1.0)
    assert supervisor.close().error is None

    assert kept[0].poses.keys() == expected.keys()
    assert all(poses.people for name, poses in expected.items() if name.startswith("drawn"))
    for name, poses in expected.items():
        mine = [(person.keypoints.tobytes(), person.score) for person in kept[0].poses[name].people]
        assert mine == [(person.keypoints.tobytes(), person.score) for person in poses.people], name


def test_evaluated_people_are_those_of_processes(
    folder: Path, tmp_path: Path, network: dict[str, Any], expected: dict[str, Poses]
) -> None:
    """What `run` in processes writes is what `eval` finds, which is told to replicas as a message."""
    environment = real_network()
    words = [word for key, value in network.items() for word in ("--set", f"network.{key}={str(value).lower()}")]
    done = run_program(
        *("run", folder, "--save-jsonl", "out.jsonl", "--mode", "processes", *words),
        environment=environment,
        folder=tmp_path,
    )
    assert (done.code, done.complaints) == (0, [])

    told = {message["name"]: message["people"] for message in messages(tmp_path / "out.jsonl")}
    assert told.keys() == expected.keys()
    writer = MessageWriter("run", "pictures", "model", "layout")
    with open_source(SourceSettings(url=str(folder))) as source:
        source.open()
        for frame in source.frames():
            assert frame.name is not None
            assert told[frame.name] == writer.poses(frame, expected[frame.name], 0.0)["people"], frame.name
