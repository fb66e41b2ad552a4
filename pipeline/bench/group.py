"""`bench group`: what grouping costs, compiled and in NumPy, from one person to a crowd, and whom it finds again."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import LAYOUTS, Layout
from posestream.pipeline.bench.measure import report
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.group.implementation import choose_implementation
from posestream.stages.group.settings import Implementation
from posestream.stages.group.synthetic import planted_maps, random_people
from posestream.stages.items import FieldMaps, FrameKey, Poses, Transform

__all__ = ["found_exactly", "group_command", "planted_crowd"]

#: What serves everywhere, and is measured beside what serves here.
NUMPY: Implementation = "numpy"
#: Network input pixels per cell.
STRIDE = 8
#: Heights of people in cells, as long as they have room.
HEIGHTS_MAP = (8.0, 24.0)
#: More people than these are made smaller, so that they cover the same part of the picture.
ROOMY = 12
#: Standard deviation of the noise, about that of the networks' where nobody is.
NOISE = 0.005
#: A planted keypoint counts as found within this many cells.
EXACT_MAP = 0.5
#: Different crowds per size; the time of one depends on how they stand.
SCENES = 5


@dataclass(frozen=True, slots=True)
class Crowd:
    """Field maps and who was planted in them."""

    maps: FieldMaps
    #: N×K×2 in cells.
    people_map: NDArray[np.float32]


class _Counts(click.ParamType[tuple[int, ...]]):
    """Counts as "1,10,100"."""

    name = "counts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(int(count) for count in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 1,10,100", param, ctx)
        if min(counts) < 0:
            self.fail(f"{value!r} has a count below 0", param, ctx)
        return counts


@click.command("group")
@click.option("--people", type=_Counts(), default="1,5,10,20,50,100", show_default=True, help="Numbers of people.")
@click.option("--layout", type=click.Choice(sorted(LAYOUTS)), default="openpose-18", show_default=True)
@click.option("--width", type=click.IntRange(8, 512), default=57, show_default=True, help="Cells across.")
@click.option("--height", type=click.IntRange(8, 512), default=32, show_default=True, help="Cells down.")
@click.option("--rounds", type=click.IntRange(1), default=40, show_default=True, help="Times each scene is grouped.")
def group_command(people: tuple[int, ...], layout: str, width: int, height: int, rounds: int) -> None:
    """Measure grouping of synthetic crowds on one core, from the network's output to people.

    `ms` is what serves here, compiled where that is there; `numpy_ms` is the decoder in NumPy in the same rounds.
    """
    serving = choose_implementation("auto")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        crowds = {
            count: [planted_crowd(LAYOUTS[layout], count, (height, width), seed) for seed in range(SCENES)]
            for count in people
        }
        names: tuple[Implementation, ...] = (serving, NUMPY)
        groups: dict[str, Group] = {name: Group(LAYOUTS[layout], GroupSettings(implementation=name)) for name in names}
        runs = _measure(groups, crowds, rounds)
    finally:
        cv2.setNumThreads(threads)
    report({"bench": "group", "implementation": serving, "layout": layout, "map_size": [width, height], "runs": runs})


def planted_crowd(layout: Layout, count: int, size_map: tuple[int, int], seed: int) -> Crowd:
    """Plant so many people of several sizes, overlapping, with noise."""
    rng = np.random.default_rng((seed, count))
    shrink = min(1.0, (ROOMY / max(count, 1)) ** 0.5)
    heights = (HEIGHTS_MAP[0] * shrink, HEIGHTS_MAP[1] * shrink)
    people = random_people(layout, rng, count, size_map, heights)
    heatmaps, pafs = planted_maps(layout, people, size_map, noise=NOISE, rng=rng)
    transform = Transform(1.0, 1.0, size_map[1] * STRIDE, size_map[0] * STRIDE)
    return Crowd(FieldMaps(FrameKey("bench", seed), heatmaps, pafs, STRIDE, transform), people)


def _measure(groups: dict[str, Group], crowds: dict[int, list[Crowd]], rounds: int) -> list[dict[str, Any]]:
    """Group all scenes in turns, so that a change of the machine's speed meets all sizes and implementations alike."""
    times = {(name, count): _Times() for count in crowds for name in groups}
    for round_number in range(rounds + 1):
        for count, scenes in crowds.items():
            for scene in scenes:
                for name, group in groups.items():
                    begin, cpu_begin = time.perf_counter(), time.thread_time()
                    group(scene.maps)
                    if round_number:  # the first one warms up
                        times[name, count].add(time.perf_counter() - begin, time.thread_time() - cpu_begin)
    serving, others = next(iter(groups)), list(groups)[1:]
    return [
        {
            "people": count,
            **times[serving, count].figures(),
            **{f"{name}_{key}": value for name in others for key, value in times[name, count].figures().items()},
            "planted": sum(len(scene.people_map) for scene in scenes),
            "found_exactly": sum(found_exactly(groups[serving](scene.maps), scene.people_map) for scene in scenes),
        }
        for count, scenes in crowds.items()
    ]


class _Times:
    """How long one implementation took for one number of people."""

    def __init__(self) -> None:
        self._wall_ms: list[float] = []
        self._cpu_ms: list[float] = []

    def add(self, wall_s: float, cpu_s: float) -> None:
        """Take a measurement."""
        self._wall_ms.append(1000 * wall_s)
        self._cpu_ms.append(1000 * cpu_s)

    def figures(self) -> dict[str, float]:
        """Give medians and the 99th percentile."""
        return {
            "ms": round(statistics.median(self._wall_ms), 3),
            # What remains of it on a machine that does other things too.
            "cpu_ms": round(statistics.median(self._cpu_ms), 3),
            "p99_ms": round(float(np.percentile(self._wall_ms, 99)), 3),
        }


def found_exactly(poses: Poses, people_map: NDArray[np.float32]) -> int:
    """Count the planted people who came back with all their joints, no other ones, within half a cell."""
    if not poses.people or not len(people_map):
        return 0
    found = np.stack([person.keypoints[:, :2] for person in poses.people]) / STRIDE
    away = np.hypot(*np.moveaxis(found[None] - people_map[:, None], -1, 0))
    is_missing = np.isnan(people_map[:, None, :, 0]) & np.isnan(found[None, :, :, 0])
    return int(((away <= EXACT_MAP) | is_missing).all(axis=2).any(axis=1).sum())
