"""Picture files as a source: one file, a folder of them, or those that a pattern matches."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from posestream.stages.color import ColorTags
from posestream.stages.errors import SourceError
from posestream.stages.items import Frame, FrameKey
from posestream.stages.orientation import UPRIGHT
from posestream.stages.picture import ArrayPicture
from posestream.stages.source.name import derive_names
from posestream.stages.source.place import is_folder, is_there
from posestream.stages.source.protocol import ClosedAtExit, SourceInfo
from posestream.stages.source.region import RegionOfInterest
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp, now

__all__ = ["PictureSource", "has_pictures", "is_picture", "is_pictures", "looked_at"]

#: What a picture's file name ends with; all of these OpenCV's wheels can read.
_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .dib .webp .tif .tiff .ppm .pgm .pbm .pnm".split()  # noqa: SIM905 — reads better
)


#: Settings that mean nothing where there is no time.
_VIDEO_ONLY = ("kind", "realtime", "transport", "policy", "max_age_s", "fps", "hwaccel", "reconnect")


def is_pictures(url: str) -> bool:
    """True for a picture file's name, an existing folder and a glob pattern."""
    path = Path(url)
    if is_folder(path) or is_picture(path):
        return True
    return glob.has_magic(url) and not is_there(path)


def has_pictures(url: str) -> bool:
    """True if at least one picture lies where an address of pictures says; none is read."""
    try:
        _listed(url)
    except SourceError:
        return False
    return True


def looked_at(url: str) -> set[Path]:
    """Give the folders that a pattern finds pictures in, and the pictures; none for what is no pattern."""
    if not is_pictures(url) or is_there(url) or not glob.has_magic(url):
        return set()
    try:
        folder, pictures = _listed(url)
    except SourceError:
        return {_fixed_part(Path(url))}
    return {folder, *pictures, *(picture.parent for picture in pictures)}


def is_picture(path: Path) -> bool:
    """True where a file's name is that of a picture."""
    return path.suffix.lower() in _SUFFIXES


class PictureSource(ClosedAtExit):
    """Frames of picture files, each with its name and without a time, in natural order of their names."""

    def __init__(self, settings: SourceSettings, clock: Callable[[], Stamp] = now) -> None:
        settings.refuse("pictures", "start_s", *_VIDEO_ONLY)
        self._settings = settings
        self._name = settings.name or derive_names([settings.url])[0]
        self._region = RegionOfInterest(settings.roi, self._name)
        self._clock = clock
        #: The folder that names are relative to.
        self._folder = Path()
        self._paths: list[Path] = []

    @property
    def name(self) -> str:
        """Its name, `[a-z0-9_.-]+`."""
        return self._name

    @property
    def is_live(self) -> bool:
        """Never: pictures wait."""
        return False

    def __repr__(self) -> str:
        """Tell its name, address and how many pictures it found."""
        return f"<PictureSource {self._name} {self._settings.url} {len(self._paths)} pictures>"

    def open(self) -> SourceInfo:
        """List the pictures and read up to the first one that can be decoded, for its size.

        Raises:
            SourceError: there are none, or none can be decoded.
        """
        # OpenCV tells of each broken file on stderr; here they are told as undecodable frames.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._folder, self._paths = _listed(self._settings.url)
        self._paths = self._paths[:: self._settings.step]
        first = next((picture for picture in map(self._read, self._paths) if picture is not None), None)
        if first is None:
            what = "cannot be decoded" if len(self._paths) == 1 else "holds no picture that can be decoded"
            raise SourceError(f"{self._settings.url} {what}; it is damaged or not a picture")
        limit = self._settings.max_frames
        return SourceInfo(
            name=self._name,
            width=first.width,
            height=first.height,
            rate=None,
            frame_count=len(self._paths) if limit is None else min(limit, len(self._paths)),
            duration_s=None,
            is_live=False,
            time_base=Fraction(1),
            path=None,
            sample_aspect_ratio=None,
            color=ColorTags.of_size(first.width, first.height),
        )

    def frames(self) -> Iterator[Frame]:
        """Give a frame for each file; one that cannot be decoded has no picture."""
        for seq, path in enumerate(islice(self._paths, self._settings.max_frames)):
            captured = self._clock()
            picture = self._read(path)
            yield Frame(
                key=FrameKey(self._name, seq),
                epoch=0,
                pts=None,
                time_base=Fraction(1),
                captured_mono_s=captured.mono_s,
                captured_wall_s=captured.wall_s,
                width=picture.width if picture else 0,
                height=picture.height if picture else 0,
                picture=picture,
                name=path.relative_to(self._folder).as_posix(),
                region=None if picture is None else self._region.of(picture),
            )

    def _read(self, path: Path) -> ArrayPicture | None:
        """Read a picture upright (EXIF, then as the settings say), in 8-bit BGR; None where that cannot be done."""
        try:
            image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error):
            return None
        if image is None:
            return None
        return ArrayPicture(UPRIGHT.then_turned(self._settings.rotation).applied(np.asarray(image, np.uint8)))


def _listed(url: str) -> tuple[Path, list[Path]]:
    """Give the folder that names are relative to, and the pictures in natural order."""
    path = Path(url)
    try:
        if path.is_dir():
            folder, found = path, list(path.iterdir())
        elif glob.has_magic(url) and not path.exists():
            folder = _fixed_part(path)
            found = [Path(name) for name in glob.iglob(url, recursive=True)]  # noqa: PTH207 — Path's is never absolute
        elif path.exists():
            return path.parent, [path]
        else:
            raise SourceError(f"{url} does not exist")
        pictures = sorted((p for p in found if is_picture(p) and p.is_file()), key=_natural)
    except OSError as error:
        raise SourceError(f"{url} cannot be read: {error.strerror or error}") from error
    if not pictures:
        # "holiday [1].mp4" is a pattern as well, for whoever mistyped it.
        absent = "" if path.is_dir() else ", and there is no file of that name"
        raise SourceError(f"{url} holds no pictures ({', '.join(sorted(_SUFFIXES))}){absent}")
    return folder, pictures


def _fixed_part(pattern: Path) -> Path:
    """Give the part of a pattern's folder that stands before its first wildcard."""
    parts = pattern.parent.parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def _natural(path: Path) -> tuple[tuple[tuple[int, str], ...], str]:
    """Order names as people do: "frame2" before "frame10"."""
    parts = re.split(r"([0-9]+)", path.as_posix().casefold())
    # Split so, every other part is digits, and like parts meet at the same place.
    return tuple((int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)), path.as_posix()
