"""Which outputs each source has: paths with the source's name in them, refused before any work if they are taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posestream.pipeline.settings import OutputTable
from posestream.stages.errors import SettingsError
from posestream.stages.output import PictureSink, Sink, check_folder_free, check_free
from posestream.stages.output_display import Display, DisplaySink
from posestream.stages.output_images import ImagesSink
from posestream.stages.output_jsonl import STANDARD_OUTPUT, JsonlSink
from posestream.stages.output_openpose import ENDING as OPENPOSE_ENDING
from posestream.stages.output_openpose import OpenPoseSink
from posestream.stages.output_video import VideoSink
from posestream.stages.source import SourceSettings

__all__ = ["LaneOutputs", "plan_outputs"]

#: What stands for the source's name in a path.
_PLACE = "{source}"


@dataclass(frozen=True, slots=True)
class LaneOutputs:
    """The outputs of one source, every path resolved."""

    table: OutputTable
    display: Display | None

    def sinks(self) -> list[Sink]:
        """Make the outputs that need no picture."""
        table = self.table
        sinks: list[Sink] = []
        if table.jsonl is not None:
            sinks.append(JsonlSink(table.jsonl))
        if table.openpose_json is not None:
            sinks.append(OpenPoseSink(table.openpose_json))
        return sinks

    def picture_sinks(self) -> list[PictureSink]:
        """Make the outputs of rendered pictures."""
        table = self.table
        sinks: list[PictureSink] = []
        if table.video is not None:
            sinks.append(VideoSink(table.video))
        if table.images is not None:
            sinks.append(ImagesSink(table.images))
        if self.display is not None:
            sinks.append(DisplaySink(self.display))
        return sinks


def plan_outputs(table: OutputTable, sources: Sequence[SourceSettings]) -> tuple[LaneOutputs, ...]:
    """Give each source its outputs.

    With several sources, a path without `{source}` is a folder in which each source has its own file or folder.

    Raises:
        SettingsError: an output exists and must not be replaced, is an input, or is wanted twice.
    """
    inputs = [Path(source.url) for source in sources]
    planned = tuple(_outputs_of(table, source.name, is_alone=len(sources) == 1) for source in sources)
    seen: set[Path] = set()
    for outputs in planned:
        for path in _files(outputs.table):
            _refuse_twice(path, seen)
            check_free(path, table.overwrite, inputs)
        for folder, pattern in _folders(outputs.table):
            check_folder_free(folder, pattern, table.overwrite, inputs)
    return planned


def _outputs_of(table: OutputTable, source: str, *, is_alone: bool) -> LaneOutputs:
    """Put a source's name into the paths of a table."""

    def file(path: Path, suffix: str) -> Path:
        return path if str(path) == STANDARD_OUTPUT else _resolved(path, source, f"{source}{suffix}", is_alone)

    def folder(path: Path) -> Path:
        return _resolved(path, source, source, is_alone)

    resolved: dict[str, object] = {}
    if table.video is not None:
        resolved["video"] = dataclasses.replace(table.video, path=file(table.video.path, ".mp4"))
    if table.jsonl is not None:
        resolved["jsonl"] = dataclasses.replace(table.jsonl, path=file(table.jsonl.path, ".jsonl"))
    if table.images is not None:
        resolved["images"] = dataclasses.replace(table.images, folder=folder(table.images.folder))
    if table.openpose_json is not None:
        resolved["openpose_json"] = dataclasses.replace(table.openpose_json, folder=folder(table.openpose_json.folder))
    display = Display(source) if table.display is not None else None
    return LaneOutputs(table.model_copy(update=resolved), display)


def _resolved(path: Path, source: str, own_name: str, is_alone: bool) -> Path:
    """Put the source's name where its place is, or its own name below the path where several sources share it."""
    if _PLACE in str(path):
        return Path(str(path).replace(_PLACE, source))
    return path if is_alone else path / own_name


def _files(table: OutputTable) -> list[Path]:
    wanted = [table.video.path if table.video else None, table.jsonl.path if table.jsonl else None]
    return [path for path in wanted if path is not None and str(path) != STANDARD_OUTPUT]


def _folders(table: OutputTable) -> list[tuple[Path, str]]:
    folders = []
    if table.images is not None:
        folders.append((table.images.folder, f"*{table.images.ending}"))
    if table.openpose_json is not None:
        folders.append((table.openpose_json.folder, f"*_{OPENPOSE_ENDING}"))
    return folders


def _refuse_twice(path: Path, seen: set[Path]) -> None:
    if path in seen:
        raise SettingsError(f"output {path} is wanted twice; put {_PLACE} into its path")
    seen.add(path)
