"""A recording of months as a row of files, `NAME.000001.jsonl` and so on, of which the oldest go when it is much."""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from posestream.stages.errors import SettingsError
from posestream.stages.items import Frame
from posestream.stages.output.held import Held, lacks_all, was_written_since
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

    What goes on after a kill does so in a further file, with nothing missing and nothing double. What of it a kill took
    is not the same for lines and for a video, so that their files have other frames under one number from then on.

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
        #: Which of the source's pictures the next one is.
        self._picture = 0
        self._was_stopped = False
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

    def resume(self, source: str, since_s: float) -> Held:
        """Look at the last file that holds anything, and go on in a further one.

        Files after it hold nothing and go, so that their numbers are given again. A recording that holds nothing lacks
        everything.

        Raises:
            OutputError: it cannot be gone on with.
        """
        found = list(_segments(self._path))
        self._goes_on = any(was_written_since(path, since_s) for _, path in found)
        for number, path in reversed(found if self._goes_on else []):
            held: Held | None = self._make(path).resume(source, since_s)
            if held is not None and (held.next_seq or held.pictures):
                self._number, self._held = number, held
                return held
            with output_errors(path):
                path.unlink(missing_ok=True)
        return Held(lacks_all)

    def open(self, info: SourceInfo) -> None:
        """Make ready; older files of the recording go, unless it is gone on with.

        Raises:
            OutputError: they cannot be removed.
        """
        self._info = info
        self._picture = info.first_picture
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
        number = self._picture
        self._picture += any(each is not None for each in picture)
        # A video ends where everything was stopped; a further file would begin behind that.
        self._was_stopped |= ended.was_stopped and bool(picture)
        if self._was_stopped or self._holds(ended, number):
            return
        now_s = _time_of(ended.frame, is_live=self._info.is_live)
        if self._sink is None or not 0 <= now_s - self._begun_s < self._plan.seconds or self._is_large():
            self._begin(replace(self._info, first_picture=number), now_s)
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

    def _holds(self, ended: Ended, number: int) -> bool:
        """True if an earlier process's files have a frame, whose picture has this number among the source's."""
        held = self._held
        if held is None:
            return False
        if held.next_seq:
            return ended.frame.key.seq < held.next_seq
        return self._info is not None and not self._info.is_live and number < held.pictures

    def _begin(self, info: SourceInfo, now_s: float) -> None:
        self.close()
        self._bytes_before = sum(size for _, size in self._sizes())
        self._bytes = 0
        self._number += 1
        self._begun_s = now_s
        sink = self._make(_segment_path(self._path, self._number))
        sink.open(info)
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
