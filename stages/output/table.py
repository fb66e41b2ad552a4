"""The table of outputs: which settings make which sink, and what is checked of them before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from posestream.stages.errors import SettingsError
from posestream.stages.output.coco import CocoSettings, CocoSink
from posestream.stages.output.csv_file import CsvSettings, CsvSink
from posestream.stages.output.display import DisplaySettings, DisplaySink
from posestream.stages.output.images import ImagesSettings, ImagesSink
from posestream.stages.output.jsonl import JsonlSettings, JsonlSink, is_standard_output
from posestream.stages.output.openpose import ENDING, OpenPoseSettings, OpenPoseSink
from posestream.stages.output.sink import PictureSink, Sink, check_folder_free, check_free
from posestream.stages.output.video import VideoSink
from posestream.stages.output.video_parts import further_parts
from posestream.stages.output.video_settings import VideoSettings

__all__ = [
    # the table
    "PICTURE_SINKS",
    "SINKS",
    "Kind",
    "PictureSinkSettings",
    "SinkSettings",
    # making
    "picture_sink",
    "sink",
    # before any work
    "check_outputs",
]

SinkT = TypeVar("SinkT", Sink, PictureSink)

SinkSettings = JsonlSettings | OpenPoseSettings | CocoSettings | CsvSettings
PictureSinkSettings = VideoSettings | ImagesSettings | DisplaySettings


@dataclass(frozen=True, slots=True)
class Kind(Generic[SinkT]):
    """One kind of output: its name in settings files, its settings, and what makes it of them."""

    name: str
    settings: type[Any]
    make: Callable[[Any], SinkT]


#: Outputs that need no picture.
SINKS: tuple[Kind[Sink], ...] = (
    Kind("jsonl", JsonlSettings, JsonlSink),
    Kind("openpose", OpenPoseSettings, OpenPoseSink),
    Kind("coco", CocoSettings, CocoSink),
    Kind("csv", CsvSettings, CsvSink),
)
#: Outputs of rendered pictures.
PICTURE_SINKS: tuple[Kind[PictureSink], ...] = (
    Kind("video", VideoSettings, VideoSink),
    Kind("images", ImagesSettings, ImagesSink),
    Kind("display", DisplaySettings, DisplaySink),
)


def sink(settings: SinkSettings) -> Sink:
    """Make the output that needs no picture and has these settings."""
    return _made(SINKS, settings)


def picture_sink(settings: PictureSinkSettings) -> PictureSink:
    """Make the output of pictures that has these settings."""
    return _made(PICTURE_SINKS, settings)


def check_outputs(
    outputs: Iterable[SinkSettings | PictureSinkSettings], overwrite: bool, inputs: Iterable[Path] = ()
) -> None:
    """Refuse, before any work, outputs that would overwrite something, an input, or each other.

    Args:
        outputs: those of all sources.
        overwrite: existing outputs may be replaced; inputs may never be.
        inputs: local files and folders that are read.

    Raises:
        SettingsError: an output must not be written where it is asked for.
    """
    inputs = tuple(inputs)
    taken: set[Path] = set()
    for settings in outputs:
        match settings:
            case OpenPoseSettings(folder):
                check_folder_free(folder, f"*_{ENDING}", overwrite, inputs)
            case ImagesSettings(folder):
                check_folder_free(folder, f"*_{settings.ending}", overwrite, inputs)
            case JsonlSettings() if settings.is_standard_output:
                pass  # all sources share it
            case JsonlSettings(path) | CocoSettings(path) | CsvSettings(path) | VideoSettings(path):
                _take(path, taken)
                check_free(path, overwrite, inputs)
                if isinstance(settings, VideoSettings):
                    for part in further_parts(path):
                        check_free(part, overwrite, inputs)
            case DisplaySettings():
                pass


def _take(path: Path, taken: set[Path]) -> None:
    """Note that an output has this file; it is nobody else's, and not standard output, which takes lines only."""
    if is_standard_output(path):
        raise SettingsError(f"{path} is standard output, and takes lines only (output.jsonl); give a file")
    if path.resolve() in taken:
        raise SettingsError(f"output {path} is asked for twice; give each output a path of its own")
    taken.add(path.resolve())


def _made(kinds: Iterable[Kind[SinkT]], settings: object) -> SinkT:
    """Make the output whose kind has settings like these."""
    return next(kind for kind in kinds if isinstance(settings, kind.settings)).make(settings)
