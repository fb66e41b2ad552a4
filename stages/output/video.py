"""Rendered video as an H.264 MP4 that plays even after the process was killed, with the source's timing and sound."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
from av import FFmpegError
from numpy.typing import NDArray

from posestream.stages.errors import OutputError
from posestream.stages.items import Frame
from posestream.stages.output.held import Held
from posestream.stages.output.media_file import MediaFile
from posestream.stages.output.recording import Recording
from posestream.stages.output.sink import Ended, make_folder, output_errors
from posestream.stages.output.video_parts import cut_torn, first_picture_note, further_parts, hold_parts
from posestream.stages.output.video_settings import VideoSettings

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["VideoSettings", "VideoSink"]

_log = logging.getLogger(__name__)


class VideoSink:
    """Writes pictures as H.264, each at its source's own time counted from the first, and copies a file's sound.

    The first picture's size is the video's, less one row or column where it is odd. After a drop the plain picture
    is written, which keeps the timing; a frame without any picture leaves a gap that the one before fills. The video
    ends before the first frame whose turn did not come before everything was stopped.

    A video that is gone on with has further files, NAME.part2.mp4, NAME.part3.mp4 …, since no encoder can go on where
    another one was killed. Each begins at 0, with the source's times counted from its own first picture, and has the
    sound from there on.
    """

    def __init__(self, settings: VideoSettings) -> None:
        self._settings = settings
        self._info: SourceInfo | None = None
        self._file: MediaFile | None = None
        self._recording: Recording | None = None
        self._has_pictures = False
        self._was_stopped = False
        self._goes_on = False
        #: The file to write, and the parts before it.
        self._path = settings.path
        self._parts_before: tuple[Path, ...] = ()
        self._has_told_size = False
        #: How many of the source's first pictures are done with those, and how many of these are still to come.
        self._held = 0
        self._to_skip = 0

    @property
    def name(self) -> str:
        """The file, as people call it."""
        return f"video {self._settings.path}"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, once it has pictures, after the parts before it."""
        return (*self._parts_before, self._path) if self._has_pictures else self._parts_before

    def resume(self, source: str, since_s: float) -> Held:  # noqa: ARG002  # a video does not tell its source
        """Cut each part after its last picture that is whole with all before it, and go on in a further part.

        Raises:
            OutputError: a part cannot be read or cut, or is no video of an earlier run.
        """
        held = hold_parts(self._settings.path, since_s)
        self._goes_on = True
        self._parts_before, self._held, self._path = held.paths, held.pictures, held.next_path
        return Held(self._lacks, pictures=held.pictures)

    def open(self, info: SourceInfo) -> None:
        """Create the file, and its folder where missing; what goes on has a further file from its first picture on.

        Raises:
            OutputError: the file cannot be created.
        """
        self._info = info
        self._to_skip = 0 if info.is_live else self._held - info.first_picture
        if not self._goes_on:
            self._file = self._created()

    def write(self, ended: Ended, picture_bgr: NDArray[np.uint8] | None) -> None:
        """Encode one picture, unless it is held.

        Raises:
            OutputError: it could not be encoded or written.
        """
        if self._info is None:
            raise ValueError("VideoSink.write before open or after close")
        self._was_stopped |= ended.was_stopped
        if picture_bgr is None or self._was_stopped:
            return
        if self._to_skip > 0:
            self._to_skip -= 1
            return
        self._file = self._file or self._created()
        with _encoder_errors(self._path):
            if self._recording is None:
                note = first_picture_note(max(self._held, self._info.first_picture))
                self._recording = Recording(self._settings, self._info, self._file, ended.frame, note)
            self._tell_size(picture_bgr)
            self._recording.write(ended.frame, picture_bgr)
            self._file.check()
            # FFmpeg writes the index together with the first fragment, so that what is not empty plays.
            self._file.show()
        self._has_pictures = True

    def close(self) -> None:
        """Write what the encoder holds back and finish the file; closing again does nothing.

        Raises:
            OutputError: it could not be written.
        """
        file, self._file, self._info = self._file, None, None
        if file is None:
            return
        recording, self._recording = self._recording, None
        with _encoder_errors(self._path):
            try:
                if recording is not None and file.error is None:
                    recording.close()
                    file.check()
                    file.show()
            finally:
                # After a failure the file's end cannot be written either, and the first failure was told.
                if recording is not None:
                    recording.abandon()
                file.close()
                if file.error is not None:
                    cut_torn(self._path)
        if recording is None:
            _log.warning("%s is not written: there was no picture", self._path)
            file.remove()

    def _created(self) -> MediaFile:
        """Create the file, without those parts of an earlier video that would be taken for parts of this one."""
        make_folder(self._path.parent)
        for part in further_parts(self._settings.path):
            if part not in (*self._parts_before, self._path):
                with output_errors(part):
                    part.unlink()
        with output_errors(self._path):
            return MediaFile(self._path)

    def _tell_size(self, picture_bgr: NDArray[np.uint8]) -> None:
        """Say once that a picture is not of the video's size."""
        assert self._info is not None  # noqa: S101 - `write` has looked
        height_px, width_px = picture_bgr.shape[:2]
        if (width_px, height_px) != (self._info.width, self._info.height) and not self._has_told_size:
            self._has_told_size = True
            _log.warning(
                "%s is as large as its first picture, %d×%d; one of %d×%d and all others are fitted into that",
                *(self._path, self._info.width, self._info.height, width_px, height_px),
            )

    def _lacks(self, frame: Frame, pictures_before: int) -> bool:
        """True for a frame whose picture comes after those that are held."""
        return frame.picture is not None and pictures_before >= self._held


@contextmanager
def _encoder_errors(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into one line.

    Raises:
        OutputError: in place of any of them.
    """
    try:
        with output_errors(path):
            yield
    except FFmpegError as error:
        what = error.strerror or str(error)
        raise OutputError(f"cannot write {path}: the encoder failed ({what}); try another size or preset") from error
