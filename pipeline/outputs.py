"""Which outputs each source has: paths with the source's name in them, refused before any work if they are taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posestream.pipeline.settings import OutputTable
from posestream.stages.errors import SettingsError
from posestream.stages.output.jsonl import STANDARD_OUTPUT
from posestream.stages.output.sink import PictureSink, Sink
from posestream.stages.output.table import PictureSinkSettings, SinkSettings, check_outputs, picture_sink, sink
from posestream.stages.source.opening import SourceSettings

__all__ = ["LaneOutputs", "plan_outputs"]

#: What stands for the source's name in a path.
_PLACE = "{source}"


@dataclass(frozen=True, slots=True)
class LaneOutputs:
    """The outputs of one source, every path resolved."""

    table: OutputTable

    @property
    def plain(self) -> list[SinkSettings]:
        """The settings of those that need no picture."""
        return [settings for settings in (self.table.jsonl, self.table.openpose_json) if settings is not None]

    @property
    def pictures(self) -> list[PictureSinkSettings]:
        """The settings of those that take rendered pictures."""
        table = self.table
        return [settings for settings in (table.video, table.images, table.display) if settings is not None]

    def sinks(self) -> list[Sink]:
        """Make the outputs that need no picture."""
        return [sink(settings) for settings in self.plain]

    def picture_sinks(self) -> list[PictureSink]:
        """Make the outputs of rendered pictures."""
        return [picture_sink(settings) for settings in self.pictures]


def plan_outputs(table: OutputTable, sources: Sequence[SourceSettings]) -> tuple[LaneOutputs, ...]:
    """Give each source its outputs.

    With several sources, a path without `{source}` is a folder in which each source has its own file or folder.

    Raises:
        SettingsError: an output exists and must not be replaced or gone on with, is an input, or is wanted twice.
    """
    if table.resume and table.overwrite:
        raise SettingsError("outputs can be gone on with or replaced, not both; leave out --resume or --overwrite")
    if table.resume and table.jsonl is not None and table.jsonl.is_standard_output:
        raise SettingsError("--resume: what standard output took is gone; write the lines to a file (--save-jsonl)")
    planned = tuple(_outputs_of(table, source.name, is_alone=len(sources) == 1) for source in sources)
    everything = [settings for outputs in planned for settings in (*outputs.plain, *outputs.pictures)]
    check_outputs(everything, table.overwrite or table.resume, [Path(source.url) for source in sources])
    return planned


def _outputs_of(table: OutputTable, source: str, *, is_alone: bool) -> LaneOutputs:
    """Put a source's name into the paths of a table."""

    def file(path: Path, suffix: str) -> Path:
        return path if str(path) == STANDARD_OUTPUT else _resolved(path, source, f"{source}{suffix}", is_alone)

    def folder(path: Path) -> Path:
        return _resolved(path, source, source, is_alone)

    changes: dict[str, object] = {}
    if table.jsonl is not None:
        changes["jsonl"] = dataclasses.replace(table.jsonl, path=file(table.jsonl.path, ".jsonl"))
    if table.openpose_json is not None:
        changes["openpose_json"] = dataclasses.replace(table.openpose_json, folder=folder(table.openpose_json.folder))
    if table.video is not None:
        changes["video"] = dataclasses.replace(table.video, path=file(table.video.path, ".mp4"))
    if table.images is not None:
        changes["images"] = dataclasses.replace(table.images, folder=folder(table.images.folder))
    if table.display is not None:
        changes["display"] = dataclasses.replace(table.display, title=table.display.title or source)
    return LaneOutputs(table.model_copy(update=changes))


def _resolved(path: Path, source: str, own_name: str, is_alone: bool) -> Path:
    """Put the source's name where its place is, or its own name below the path where several sources share it."""
    if _PLACE in str(path):
        return Path(str(path).replace(_PLACE, source))
    return path if is_alone else path / own_name
