"""The gate of quantised networks: which frames, how they agree, how fast they are, and what is good enough."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from posestream.models.engines.base import Engine
from posestream.models.engines.fake import FakeEngine
from posestream.models.registry import load_registry
from posestream.pipeline.commands import main
from posestream.pipeline.quantize.agreement import Agreement, agreement
from posestream.pipeline.quantize.frames import sample_frames
from posestream.pipeline.quantize.gate import Limits
from posestream.pipeline.quantize.speed import INT8, Speeds, measure_speeds
from posestream.stages.errors import SourceError
from posestream.stages.items import FrameKey, Person, Poses

from ... import media  # noqa: TID252 - tests are no package that could be named

SPEC = load_registry()["mobilenet-thin"]


def numbers(inputs) -> list[int]:
    """Read which frames network inputs were made of."""
    return [media.number_of(each.image) for each in inputs]


def test_frames_are_spread_evenly_and_apart(tmp_path: Path) -> None:
    """A video gives frames from its beginning to its end, none twice as far apart as another, each on one side only."""
    images = media.numbered(55, 64, 64)
    media.write_video(tmp_path / "clip.mp4", images)

    frames = sample_frames([str(tmp_path / "clip.mp4")], 12, 64, 8)

    taken = sorted(numbers(frames.calibration) + numbers(frames.held_back))
    assert (len(frames.calibration), len(frames.held_back)) == (8, 4)
    assert taken[0] <= 1
    assert taken[-1] >= 50
    assert set(np.diff(taken)) <= {4, 5, 8, 9}
    assert not set(numbers(frames.calibration)) & set(numbers(frames.held_back))


def test_every_source_gives_its_share(tmp_path: Path) -> None:
    """Of two folders each gives half, and a frame that was there before is not taken twice."""
    for folder, first in (("one", 0), ("two", 30)):
        (tmp_path / folder).mkdir()
        for number in range(first, first + 20):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), media.numbered(55, 64, 64)[number])

    frames = sample_frames([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "two")], 24, 64, 8)

    taken = numbers(frames.calibration) + numbers(frames.held_back)
    assert len(taken) == len(set(taken))
    assert sum(number < 30 for number in taken) == 8


@pytest.mark.parametrize(
    "url", ["rtsp://user:secret@127.0.0.1:9/live", "0", "udp://127.0.0.1:9", "http://127.0.0.1:9/a.m3u8"]
)
def test_live_sources_are_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What has no end is refused at once, in one line without its password and with exit 2, instead of waited for."""
    assert main(["models", "quantize", "mobilenet-thin", "--video", url]) == 2
    told = capsys.readouterr().err
    assert "is live and has no end" in told
    assert told.count("\n") == 1
    assert "secret" not in told


def test_frames_that_are_all_alike_are_too_few(tmp_path: Path) -> None:
    """A picture that never changes tells nothing, however many frames of it there are."""
    media.write_video(tmp_path / "still.mp4", [media.numbered(1, 64, 64)[0]] * 40)

    with pytest.raises(SourceError, match="different frames are too few"):
        sample_frames([str(tmp_path / "still.mp4")], 20, 64, 8)


def poses(*people: np.ndarray) -> Poses:
    """Make a frame's people."""
    return Poses(FrameKey("one", 0), tuple(Person(keypoints.astype(np.float32), 0.9) for keypoints in people))


def standing(left: float, count: int = 18) -> np.ndarray:
    """Make somebody 180 pixels high, of so many keypoints."""
    keypoints = np.full((18, 3), np.nan)
    keypoints[:count] = np.column_stack([np.full(18, left), np.arange(18) * 10.0, np.ones(18)])[:count]
    return keypoints


def test_the_same_people_agree_wholly() -> None:
    """Whoever is seen the same in another order agrees in all keypoints, with no distance."""
    seen = agreement([(poses(standing(10), standing(400)), poses(standing(400), standing(10)), 0.5)])

    assert (seen.keypoints, seen.recall, seen.precision, seen.rms_px) == (36, 1.0, 1.0, 0.0)


def test_distances_are_told_in_both_pixels() -> None:
    """Everybody 3 pixels to the side is 3 source pixels off, and 1.5 of a network input half that size."""
    seen = agreement([(poses(standing(10)), poses(standing(13)), 0.5)])

    assert (seen.recall, seen.precision) == (1.0, 1.0)
    assert seen.rms_px == pytest.approx(3.0)
    assert seen.rms_net == pytest.approx(1.5)


def test_what_is_missing_and_what_is_invented_counts() -> None:
    """A keypoint that is lost, or far off, costs recall; a person who is not there costs precision."""
    far = standing(10)
    far[0, 0] += 100
    seen = agreement([(poses(standing(10)), poses(far, standing(500, 9)), 1.0), (poses(standing(10)), poses(), 1.0)])

    assert (seen.keypoints, seen.found, seen.others) == (36, 17, 27)


def test_nobody_is_no_agreement() -> None:
    """Where int8 finds nobody at all, recall and precision are zero."""
    seen = agreement([(poses(standing(10)), poses(), 1.0)])

    assert (seen.recall, seen.precision, seen.rms_px) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("seen", "faults"),
    [
        (Agreement(100, 95, 100, 1.0, 1.0), []),
        (Agreement(100, 50, 50, 1.0, 1.0), ["finds 50.0% of the float network's"]),
        (Agreement(100, 95, 200, 1.0, 1.0), ["finds 47.5% of its keypoints"]),
        (Agreement(100, 95, 100, 9.0, 3.0), ["3.00 network input pixels off"]),
        (Agreement(100, 0, 0, 0.0, 0.0), ["finds 0.0%", "finds 0.0%"]),
    ],
)
def test_each_limit_is_told_by_itself(seen: Agreement, faults: list[str]) -> None:
    """What is not good enough is told with its figure, one line for each limit."""
    told = Limits(0.9, 0.9, 2.0, 1.05).sees(seen)

    assert len(told) == len(faults)
    assert all(part in line for part, line in zip(faults, told, strict=True))


def test_speed_must_be_gained_over_each_precision() -> None:
    """Faster than float and not than bf16 is no gain where there is bf16."""
    speeds = Speeds({}, {"f32": 2.5, "bf16": 0.97})

    assert Limits(least_speedup=1.05).gains(speeds) == ["it is 0.97 times as fast as bf16, less than 1.05"]
    assert Limits(least_speedup=0.9).gains(speeds) == []


def test_speeds_are_measured_in_turns() -> None:
    """Each engine has its turn in each round, and a machine that gets slower all the time changes no ratio."""
    engines = {name: FakeEngine(SPEC) for name in (INT8, "f32")}
    turns: list[str] = []

    def speed(engine: Engine, image: np.ndarray, frames: int) -> float:
        turns.append(next(name for name, each in engines.items() if each is engine))
        return (40.0 if turns[-1] == INT8 else 20.0) / len(turns)

    speeds = measure_speeds(engines, np.zeros((64, 64, 3), np.uint8), 5, 10, speed)

    assert turns == [INT8, "f32"] * 5
    assert speeds.speedups == {"f32": pytest.approx(2 * 6 / 5)}
    assert speeds.fps[INT8] == pytest.approx(8.0)
