"""A recording of months as a row of files, `NAME.000001.jsonl` and so on, of which the oldest go when it is much."""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from posestream.stages.errors import SettingsError
from posestream.stages.items import Frame
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended, PictureSink, Sink, output_errors

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["SegmentPlan", "SegmentedSink", "check_no_segments", "has_segments"]

_log = logging.getLogger(__name__)

#: Digits of a segment's number at least: the millionth has one more.
_DIGITS = 6

SinkT = TypeVar("SinkT", Sink, PictureSink)


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """How long each file is, and how much all files of one recording may have."""

    #: Seconds of the source's own clock, for live sources and pictures of this machine's.
    seconds: float
    #: Bytes of all files together, the one that is being written included; None: no bound.
    quota_bytes: int | None = None


class SegmentedSink(Generic[SinkT]):
    """Gives its frames to one sink after another, each with a file of its own.

    What goes on after a kill does so in a further file. Of lines and rows nothing is missing and nothing double then;
    a video begins with the next picture that is drawn.

    A file that has half of the quota is followed by the next one before its seconds are over, so that not all is gone
    when the oldest goes. Room is made before each write, for as much as the files have grown by at most at one time.

    Args:
        make: makes the sink of a file.
        path: the recording's path, into which the number is put.
        plan: how long, and how much.
    """

    def __init__(self, make: Callable[[Path], SinkT], path: Path, plan: SegmentPlan) -> None:
        self._make: Callable[[Path], SinkT] = make
        self._path = path
        self._plan = plan
        self._info: SourceInfo | None = None
        self._sink: SinkT | None = None
        self._number = 0
        self._goes_on = False
        self._held: Held | None = None
        self._begun_s = 0.0
        #: Of the present file what it had when last looked at, and of those before it what they have, in bytes.
        self._bytes = 0
        self._bytes_before = 0
        #: The most by which a file has grown from one look to the next, in bytes.
        self._growth = 0

    @property
    def name(self) -> str:
        """The recording, as people call it."""
        name: str = self._make(self._path).name
        return name

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are there."""
        return tuple(path for _, path in _segments(self._path))

    def resume(self, source: str, since_s: float) -> Held | None:
        """Look at the last file that holds anything, and go on in a further one.

        Raises:
            OutputError: it cannot be gone on with.
        """
        self._goes_on = True
        for number, path in reversed(list(_segments(self._path))):
            self._number = max(self._number, number)
            held: Held | None = self._make(path).resume(source, since_s)
            if held is None or held.next_seq:
                self._held = held
                return held
        return None

    def open(self, info: SourceInfo) -> None:
        """Make ready; older files of the recording go, unless it is gone on with.

        Raises:
            OutputError: they cannot be removed.
        """
        self._info = info
        if not self._goes_on:
            for _, path in list(_segments(self._path)):
                with output_errors(path):
                    path.unlink(missing_ok=True)

    def write(self, ended: Ended, *picture: Any) -> None:
        """Give a frame to the present file's sink, or begin the next file with it.

        Raises:
            OutputError: it could not be written.
        """
        if self._info is None:
            raise ValueError("SegmentedSink.write before open or after close")
        if self._held is not None and ended.frame.key.seq < self._held.next_seq:
            return
        now_s = _time_of(ended.frame, is_live=self._info.is_live)
        if self._sink is None or not 0 <= now_s - self._begun_s < self._plan.seconds or self._is_large():
            self._begin(now_s)
        if self._sink is not None:
            self._make_room()
            self._sink.write(ended, *picture)

    def close(self) -> None:
        """Finish the present file; closing again does nothing.

        Raises:
            OutputError: it could not be written.
        """
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
            self._look()

    def _begin(self, now_s: float) -> None:
        self.close()
        self._bytes_before = sum(size for _, size in self._sizes())
        self._bytes = 0
        self._number += 1
        self._begun_s = now_s
        sink = self._make(_segment_path(self._path, self._number))
        if self._info is not None:
            sink.open(self._info)
        self._sink = sink

    def _is_large(self) -> bool:
        """True if the present file has half of the quota, or would with the next write."""
        if self._plan.quota_bytes is None:
            return False
        self._look()
        return self._bytes > 0 and 2 * (self._bytes + self._growth) > self._plan.quota_bytes

    def _look(self) -> None:
        """Note how much the present file has."""
        try:
            size = _segment_path(self._path, self._number).stat().st_size
        except OSError:
            size = 0  # a video has no name before it has pictures
        self._growth = max(self._growth, size - self._bytes)
        self._bytes = size

    def _make_room(self) -> None:
        """Remove the oldest files while all of them might have too much after the next write."""
        quota = self._plan.quota_bytes
        if quota is None or self._bytes_before + self._bytes + self._growth <= quota:
            return
        found = self._sizes()
        self._bytes_before = sum(size for _, size in found)
        # Until the present file has something, the one before it tells where to go on.
        for path, size in found if self._bytes else found[:-1]:
            if self._bytes_before + self._bytes + self._growth <= quota:
                return
            with output_errors(path):
                path.unlink(missing_ok=True)
            self._bytes_before -= size
            _log.info("%s was removed, the oldest file of a recording that has reached its quota", path)

    def _sizes(self) -> list[tuple[Path, int]]:
        """List the files before the present one, the oldest first, and what each has in bytes."""
        present = self._number if self._sink is not None else None
        with output_errors(self._path):
            return [(path, path.stat().st_size) for number, path in _segments(self._path) if number != present]


def check_no_segments(path: Path) -> None:
    """Refuse, before any work, a recording of which files exist.

    Raises:
        SettingsError: there is one.
    """
    found = next(_segments(path), None)
    if found is not None:
        raise SettingsError(
            f"output {found[1]} exists; give another path or allow overwriting (--overwrite, output.overwrite)"
        )


def has_segments(path: Path) -> bool:
    """True if there are files of a recording."""
    return next(_segments(path), None) is not None


def _segments(path: Path) -> Iterator[tuple[int, Path]]:
    """List a recording's files by their numbers."""
    found = []
    for one in path.parent.glob(f"{glob.escape(path.stem)}.*{glob.escape(path.suffix)}"):
        number = one.name[len(path.stem) + 1 : len(one.name) - len(path.suffix)]
        if number.isdecimal() and number == f"{int(number):0{_DIGITS}d}":
            found.append((int(number), one))
    return iter(sorted(found))


def _segment_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number:0{_DIGITS}d}{path.suffix}")


def _time_of(frame: Frame, *, is_live: bool) -> float:
    return frame.captured_wall_s if is_live or frame.pts_s is None else frame.pts_s
