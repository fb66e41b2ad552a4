"""Files of one frame each: their names, and writing them so that nobody ever sees half of one."""

from __future__ import annotations

from pathlib import Path

from posestream.stages.items import Frame
from posestream.stages.output.held import was_written_since
from posestream.stages.output.sink import make_folder, output_errors

__all__ = ["FrameFiles"]

#: Digits of a frame's number in a file name: OpenPose's.
_DIGITS = 12


class FrameFiles:
    """Writes one file per frame below a folder, named as OpenPose names them.

    A video's frame: `SOURCE_000000000007_ENDING`, the number being its `seq`. A still picture: `STEM_ENDING`, in the
    same folder below this one as the picture was found in below its own. Where two pictures differ in nothing but
    their suffix, the second one keeps it in its stem (`door.png_ENDING`), so that none is lost.
    """

    def __init__(self, folder: Path, ending: str) -> None:
        self._folder = folder
        self._ending = ending
        #: Which picture has taken which name.
        self._owners: dict[Path, str] = {}

    def write(self, frame: Frame, data: bytes) -> None:
        """Write the frame's file under a temporary name, then give it its own.

        Raises:
            OutputError: it could not be written; nothing is left of it.
        """
        path = self._path(frame)
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.part")
        with output_errors(path):
            try:
                temporary.write_bytes(data)
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def holds(self, frame: Frame, since_s: float) -> bool:
        """True if the frame's file was written at that time or later; it is whole then."""
        return was_written_since(self._path(frame), since_s)

    def next_seq(self, source: str) -> int:
        """Give the number after the highest one in the names of a source's files; 0 where there is none."""
        names = self._folder.glob(f"{source}_{'[0-9]' * _DIGITS}_{self._ending}")
        return max((int(path.name[len(source) + 1 :][:_DIGITS]) + 1 for path in names), default=0)

    def _path(self, frame: Frame) -> Path:
        """Give the path of a frame's file."""
        if frame.name is None:
            return self._folder / f"{frame.key.source}_{frame.key.seq:0{_DIGITS}d}_{self._ending}"
        picture = Path(frame.name)
        path = self._folder / picture.with_name(f"{picture.stem}_{self._ending}")
        if self._owners.setdefault(path, frame.name) != frame.name:
            path = self._folder / picture.with_name(f"{picture.name}_{self._ending}")
        return path
