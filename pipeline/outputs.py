"""Which outputs each source has: paths with the source's name in them, refused before any work if they are taken."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard, TypeVar, cast

from posestream.pipeline.settings import OutputTable
from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.output.coco import CocoSettings
from posestream.stages.output.csv_file import CsvSettings
from posestream.stages.output.images import ImagesSettings
from posestream.stages.output.jsonl import STANDARD_OUTPUT, JsonlSettings
from posestream.stages.output.openpose import OpenPoseSettings
from posestream.stages.output.segments import SegmentedSink, check_no_segments
from posestream.stages.output.sink import PictureSink, Sink, output_errors
from posestream.stages.output.standard_output import StandardOutput
from posestream.stages.output.table import PictureSinkSettings, SinkSettings, check_outputs, picture_sink, sink
from posestream.stages.output.video_settings import VideoSettings
from posestream.stages.redact import redacted
from posestream.stages.source.opening import SourceSettings, looked_at

__all__ = ["LaneOutputs", "plan_further_outputs", "plan_outputs"]

SinkT = TypeVar("SinkT", Sink, PictureSink)
#: Outputs that are one file each.
_Recording: TypeAlias = JsonlSettings | CocoSettings | CsvSettings | VideoSettings

#: What stands for the source's name in a path.
_PLACE = "{source}"
#: What looks as if it stood for something.
_ANY_PLACE = re.compile(r"\{\w*\}")
#: How an address looks as a path.
_ADDRESS = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+):[/\\]+")
#: Bytes of a file's name at most, on all usual file systems.
_MOST_BYTES = 255


@dataclass(frozen=True, slots=True)
class LaneOutputs:
    """The outputs of one source, every path resolved."""

    table: OutputTable

    @property
    def plain(self) -> list[SinkSettings]:
        """The settings of those that need no picture."""
        table = self.table
        wanted = (table.jsonl, table.openpose_json, table.coco, table.csv)
        return [settings for settings in wanted if settings is not None]

    @property
    def pictures(self) -> list[PictureSinkSettings]:
        """The settings of those that take rendered pictures."""
        table = self.table
        return [settings for settings in (table.video, table.images, table.display) if settings is not None]

    @property
    def paths(self) -> list[Path]:
        """The files and folders that they write, but for standard output."""
        found: list[Path] = []
        for settings in (*self.plain, *self.pictures):
            match settings:
                case JsonlSettings(path) if not settings.is_standard_output:
                    found.append(path)
                case CocoSettings(path) | CsvSettings(path) | VideoSettings(path):
                    found.append(path)
                case OpenPoseSettings(folder) | ImagesSettings(folder):
                    found.append(folder)
        return [path.resolve() for path in found]

    def sinks(self) -> list[Sink]:
        """Make the outputs that need no picture."""
        return [self._segmented(sink, settings) for settings in self.plain]

    def picture_sinks(self) -> list[PictureSink]:
        """Make the outputs of rendered pictures."""
        return [self._segmented(picture_sink, settings) for settings in self.pictures]

    @property
    def segmented(self) -> list[Path]:
        """The paths of those that are cut into files."""
        if self.table.segments is None:
            return []
        return [settings.path for settings in (*self.plain, *self.pictures) if _is_recording(settings)]

    def _segmented(self, make: Callable[[Any], SinkT], settings: Any) -> SinkT:
        """Make an output, cut into files if that is wanted and it is a file."""
        plan = self.table.segments
        if plan is None or not _is_recording(settings):
            return make(settings)
        made: Any = SegmentedSink(lambda path: make(dataclasses.replace(settings, path=path)), settings.path, plan)
        return cast(SinkT, made)


def plan_outputs(table: OutputTable, sources: Sequence[SourceSettings]) -> tuple[LaneOutputs, ...]:
    """Give each source its outputs.

    With several sources, a path without `{source}` is a folder in which each source has its own file or folder.

    Raises:
        SettingsError: an output exists and must not be replaced or gone on with, is an input, or is wanted twice.
        OutputError: an output's path cannot be looked at or written to, or standard output is closed.
    """
    if table.jsonl is not None and table.jsonl.is_standard_output:
        with output_errors("standard output"):
            StandardOutput().close()
    if table.resume and table.overwrite:
        raise SettingsError("outputs can be gone on with or replaced, not both; leave out --resume or --overwrite")
    if table.resume and table.jsonl is not None and table.jsonl.is_standard_output:
        raise SettingsError("--resume: what standard output took is gone; write the lines to a file (--save-jsonl)")
    with _looking():
        planned = tuple(_outputs_of(table, source.name, is_alone=len(sources) == 1) for source in sources)
        _check_free(table, planned, sources)
    return planned


@contextmanager
def _looking() -> Iterator[None]:
    """Turn the system's refusal to look at an output's path (too long a name, a closed folder) into a line about it.

    Raises:
        OutputError: in place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        with output_errors(error.filename or "the outputs"):
            raise


def plan_further_outputs(
    table: OutputTable, source: SourceSettings, inputs: Iterable[SourceSettings], planned: Iterable[LaneOutputs]
) -> LaneOutputs:
    """Give one source more its outputs, as one of several.

    Args:
        table: of all sources.
        source: the new one.
        inputs: all sources that there are.
        planned: the outputs of every source that there is or was; none of them may be written again.

    Raises:
        SettingsError: an output exists and must not be replaced or gone on with, is an input, or another source's.
        OutputError: an output's path cannot be looked at.
    """
    with _looking():
        own = _outputs_of(table, source.name, is_alone=False)
        taken = {path for outputs in planned for path in outputs.paths}
        for path in own.paths:
            if path in taken:
                raise SettingsError(f"output {path} is another source's; start the run with {_PLACE} in the path")
            if not taken.isdisjoint(path.parents):
                raise SettingsError(f"output {path} is below another source's; start the run with {_PLACE} in the path")
        _check_free(table, [own], [*inputs, source])
    return own


def _check_free(table: OutputTable, planned: Sequence[LaneOutputs], inputs: Iterable[SourceSettings]) -> None:
    for path in (path for outputs in planned for path in outputs.paths):
        _check_length(path)
        _check_place(path)
    everything = [settings for outputs in planned for settings in (*outputs.plain, *outputs.pictures)]
    if not (table.overwrite or table.resume):
        for outputs in planned:
            for path in outputs.segmented:
                check_no_segments(path)
    read: set[Path] = set()
    for source in inputs:
        read |= {Path(source.url), *looked_at(source.url)}
    check_outputs(everything, table.overwrite or table.resume, read)


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
    if table.coco is not None:
        changes["coco"] = dataclasses.replace(table.coco, path=file(table.coco.path, ".coco.json"))
    if table.csv is not None:
        changes["csv"] = dataclasses.replace(table.csv, path=file(table.csv.path, ".csv"))
    if table.video is not None:
        changes["video"] = dataclasses.replace(table.video, path=file(table.video.path, ".mp4"))
    if table.images is not None:
        changes["images"] = dataclasses.replace(table.images, folder=folder(table.images.folder))
    if table.display is not None:
        changes["display"] = dataclasses.replace(table.display, title=table.display.title or source)
    return LaneOutputs(table.model_copy(update=changes))


def _check_length(path: Path) -> None:
    """Raise what the system would raise later, once the file's folder is there."""
    if len(os.fsencode(path.name)) > _MOST_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))


def _check_place(path: Path) -> None:
    """Refuse a path below a file, or where this user may not write, as the system would once there is something."""
    place = next(each for each in (path, *path.parents) if each.exists())
    if place != path and not place.is_dir():
        raise OutputError(f"cannot write {path}: {place} is a file, and no folder; check the path")
    if not os.access(place, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _is_recording(settings: Any) -> TypeGuard[_Recording]:
    """True for an output that is one file."""
    return isinstance(settings, _Recording) and str(settings.path) != STANDARD_OUTPUT


def _resolved(path: Path, source: str, own_name: str, is_alone: bool) -> Path:
    """Put the source's name where its place is, or its own name below the path where several sources share it.

    Raises:
        SettingsError: the path is an address, another place is in it, or a file was probably meant where only a folder
            can be.
    """
    if _ADDRESS.match(str(path)):
        # A path has lost one of the slashes.
        told = redacted(_ADDRESS.sub(r"\1://", str(path)))
        raise SettingsError(f"output {told} is an address; results go to files and folders of this machine")
    unknown = next((place for place in _ANY_PLACE.findall(str(path)) if place != _PLACE), None)
    if unknown is not None:
        raise SettingsError(f"output {path}: {unknown} stands for nothing; {_PLACE} stands for the source's name")
    if _PLACE in str(path):
        return Path(str(path).replace(_PLACE, source))
    if is_alone:
        return path
    if path.suffix and path.suffix == Path(own_name).suffix and not path.is_dir():
        raise SettingsError(f"output {path} is one file for several sources; write {_PLACE} into it")
    return path / own_name
