"""Rendered pictures as files: one per frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.items import Frame
from posestream.stages.output.files import FrameFiles
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended, make_folder

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["ImagesSettings", "ImagesSink"]

_FORMATS = ("jpg", "png")
#: JPEG's quality (0…100): 95, OpenCV's own, makes much larger files that look the same.
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class ImagesSettings:
    """The folder that the pictures go to, and their format, jpg or png.

    Raises:
        SettingsError: the format is another one.
    """

    folder: Path
    format: str = "jpg"

    def __post_init__(self) -> None:
        if self.format not in _FORMATS:
            raise SettingsError(f"picture format {self.format!r} is unknown; choose one of {', '.join(_FORMATS)}")

    @property
    def ending(self) -> str:
        """What each file's name ends with."""
        return f"rendered.{self.format}"


class ImagesSink:
    """Writes `SOURCE_000000000000_rendered.jpg` per video frame, `STEM_rendered.jpg` per picture.

    After a drop the plain picture is written, so that a video's files are a whole sequence; a frame without any
    picture has no file, and neither has one whose turn did not come before everything was stopped.
    """

    def __init__(self, settings: ImagesSettings) -> None:
        self._settings = settings
        self._files = FrameFiles(settings.folder, settings.ending)
        self._since_s = 0.0

    @property
    def name(self) -> str:
        """The folder, as people call it."""
        return f"images {self._settings.folder}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folder."""
        return (self._settings.folder,)

    def resume(self, source: str, since_s: float) -> Held:
        """Look which frames have a file; one that is done again is written again, which gives the same."""
        self._since_s = since_s
        return Held(self._lacks, self._files.next_seq(source))

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002  # every frame tells its source
        """Create the folder where missing.

        Raises:
            OutputError: the folder cannot be created.
        """
        make_folder(self._settings.folder)

    def write(self, ended: Ended, picture_bgr: NDArray[np.uint8] | None) -> None:
        """Write one picture; a reader never sees half of it.

        Raises:
            OutputError: it could not be encoded or written.
        """
        if picture_bgr is not None and not ended.was_stopped:
            self._files.write(ended.frame, self._encoded(picture_bgr))

    def close(self) -> None:
        """Do nothing: every file is complete once written."""

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:  # noqa: ARG002  # the names tell
        """True for a frame that has a picture and no file."""
        return frame.picture is not None and not self._files.holds(frame, self._since_s)

    def _encoded(self, picture_bgr: NDArray[np.uint8]) -> bytes:
        """Give a picture as the bytes of a file."""
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if self._settings.format == "jpg" else []
        height_px, width_px = picture_bgr.shape[:2]
        try:
            is_done, data = cv2.imencode(f".{self._settings.format}", picture_bgr, options)
        except cv2.error:
            is_done = False
        if not is_done:
            raise OutputError(
                f"cannot write pictures to {self._settings.folder}: a picture of {width_px}×{height_px} does not fit "
                f"into {self._settings.format}; choose another format"
            )
        return data.tobytes()
