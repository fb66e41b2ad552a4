"""Accuracy against labelled pictures: COCO's average precision of keypoints, over the pipeline's own stages."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import select
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.base import Completed, Engine
from posestream.models.errors import EngineError
from posestream.models.layout import Layout
from posestream.models.spec import NetworkSpec
from posestream.pipeline.annotations import read_annotations
from posestream.stages.ensemble import Ensemble, EnsembleSettings, Maps
from posestream.stages.errors import SettingsError, SourceError
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.items import FieldMaps, Poses
from posestream.stages.output.coco import PERSON_CATEGORY, coco_results
from posestream.stages.output.sink import output_errors
from posestream.stages.preprocess import Preprocess
from posestream.stages.source.pictures import PictureSource
from posestream.stages.source.settings import SourceSettings

__all__ = ["Labels", "Timed", "evaluate", "pose_pictures", "wait_for_one"]

#: Longest wait for one inference, in seconds; large pictures on a slow processor take a few.
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Timed:
    """One picture's people, and what they cost in seconds."""

    image_id: int
    poses: Poses
    network_s: float
    group_s: float


class Labels:
    """COCO's annotations of people's keypoints.

    Raises:
        SettingsError: pycocotools is not installed.
        SourceError: the file cannot be read or is not in COCO's format.
    """

    def __init__(self, annotations: Path) -> None:
        try:
            coco = importlib.import_module("pycocotools.coco")
            self._cocoeval: Any = importlib.import_module("pycocotools.cocoeval")
        except ImportError as error:
            raise SettingsError("eval needs pycocotools: pip install 'posestream[eval]'") from error
        found = read_annotations(annotations)
        self._names = found.names
        self._truth: Any = coco.COCO()
        self._truth.dataset = found.dataset
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress there
            self._truth.createIndex()

    def pictures(self, folder: Path) -> list[tuple[int, Path]]:
        """Give number and path of each picture with labelled keypoints.

        Raises:
            SourceError: a picture is not there.
        """
        found = [(image_id, folder / name) for image_id, name in self._names.items()]
        missing = [path for _, path in found if not path.is_file()]
        if missing:
            raise SourceError(f"{len(missing)} of {len(found)} labelled pictures are missing, such as {missing[0]}")
        return found

    def measure(self, results: list[dict[str, Any]]) -> dict[str, float | None]:
        """Give COCO's figures for results in its format, over all pictures with labelled keypoints.

        None stands for a figure over nobody, such as that of large people where none is labelled; pycocotools says −1.
        """
        names = ("AP", "AP50", "AP75", "APm", "APl", "AR")
        with contextlib.redirect_stdout(io.StringIO()):
            found = self._truth.loadRes(results) if results else self._nobody()
            evaluation = self._cocoeval.COCOeval(self._truth, found, "keypoints")
            evaluation.params.imgIds = list(self._names)
            evaluation.params.catIds = [PERSON_CATEGORY]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        values = zip(names, evaluation.stats[:6].tolist(), strict=True)
        return {name: None if value < 0 else round(value, 4) for name, value in values}

    def _nobody(self) -> Any:
        """Give results without anybody, which `loadRes` does not take."""
        nobody = type(self._truth)()
        nobody.dataset = {**self._truth.dataset, "annotations": []}
        nobody.createIndex()
        return nobody


def evaluate(
    labels: Labels, posed: Iterable[Timed], layout: Layout, save_results: Path | None = None
) -> dict[str, float | None]:
    """Compare people with the labels; give COCO's figures, see `Labels.measure`, and the medians of the times.

    Raises:
        OutputError: the results cannot be saved.
    """
    pictures = list(posed)
    results = [entry for picture in pictures for entry in coco_results(picture.image_id, picture.poses, layout)]
    if save_results is not None:
        with output_errors(save_results):
            save_results.write_text(json.dumps(results), "utf-8")
    return {
        **labels.measure(results),
        "images": len(pictures),
        "people": len(results),
        "network_ms": round(1000 * statistics.median(picture.network_s for picture in pictures), 3),
        "group_ms": round(1000 * statistics.median(picture.group_s for picture in pictures), 3),
    }


def pose_pictures(
    pictures: Iterable[tuple[int, Path]],
    spec: NetworkSpec,
    engine: Engine,
    net_height: int,
    settings: GroupSettings,
    seen: EnsembleSettings | None = None,
) -> Iterator[Timed]:
    """Give each picture's people, by the stages that the pipeline is made of, one picture at a time.

    Raises:
        SourceError: a picture cannot be decoded.
        EngineError: the engine failed.
    """
    preprocess = Preprocess(net_height, spec.input.multiple)
    ensemble = Ensemble(spec.layout, spec.stride, spec.input.multiple, seen)
    group = Group(spec.layout, settings)
    for image_id, path in pictures:
        with PictureSource(SourceSettings(url=str(path))) as source:
            source.open()
            net_input = preprocess(next(source.frames()))
        (heatmaps, pafs), network_s = _infer(engine, ensemble, net_input.image)
        maps = FieldMaps(net_input.key, heatmaps, pafs, spec.stride, net_input.transform)
        begin = time.perf_counter()
        poses = group(maps)
        yield Timed(image_id, poses, network_s, time.perf_counter() - begin)


def _infer(engine: Engine, ensemble: Ensemble, image: NDArray[np.uint8]) -> tuple[Maps, float]:
    """Give a picture's maps and the time of its inferences, one after the other, in seconds."""
    outputs: list[Maps] = []
    network_s = 0.0
    for number in range(ensemble.count):
        view = ensemble.view(image, number)
        engine.prepare(*view.shape[:2])
        engine.submit([number], [view])
        done = wait_for_one(engine)
        outputs.append((done.heatmaps_chw, done.pafs_chw))
        network_s += done.elapsed_s
    return ensemble.mean(image, outputs), network_s


def wait_for_one(engine: Engine) -> Completed:
    """Wait for the one inference that runs, and take it.

    Raises:
        EngineError: it failed, or never ended.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        # Not every engine can signal a failure, so it is asked now and then too.
        select.select([engine.fileno()], [], [], 0.5)
        if completed := engine.completed():
            return completed[0]
    raise EngineError(f"{engine.description} has not finished one inference within {_PATIENCE_S:g} s")
