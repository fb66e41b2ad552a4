"""Windows that show rendered pictures live: sinks keep the newest picture, the main thread shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from posestream.stages.errors import OutputError
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended

if TYPE_CHECKING:
    from posestream.stages.source.protocol import SourceInfo

__all__ = ["CvWindows", "Display", "DisplaySettings", "DisplaySink", "Windows"]

#: Keys that close the windows: q and Esc.
_CLOSING_KEYS = (ord("q"), ord("Q"), 27)
#: Opens a window and closes it. That OpenCV has no windows at all is told when one is shown.
_TRIAL = """
import cv2
try:
    cv2.namedWindow("posestream", cv2.WINDOW_NORMAL)
    cv2.waitKey(1)
    cv2.destroyAllWindows()
except cv2.error:
    pass
"""
#: How long that may take, in seconds: a desktop on another host may be slow, and one that has gone never answers.
_TRIAL_S = 20.0
#: A window is this large at most to begin with; people can enlarge it.
_MOST_WIDTH_PX, _MOST_HEIGHT_PX = 1280, 720


@dataclass(frozen=True, slots=True)
class DisplaySettings:
    """A window per source; an empty title stands for the source's name."""

    title: str = ""


class DisplaySink:
    """Keeps the newest picture of one source until the main thread shows it; older ones are passed over."""

    def __init__(self, settings: DisplaySettings) -> None:
        self._title = settings.title
        self._lock = Lock()
        self._newest: NDArray[np.uint8] | None = None

    @property
    def name(self) -> str:
        """The window, as people call it."""
        return f"window {self._title}".rstrip()

    @property
    def title(self) -> str:
        """The window's title."""
        return self._title

    @property
    def paths(self) -> tuple[Path, ...]:
        """Nothing: it writes no file."""
        return ()

    def resume(self, source: str, since_s: float) -> Held | None:  # noqa: ARG002  # whatever the source
        """Give None: what was shown is over."""
        return None

    def open(self, info: SourceInfo) -> None:
        """Learn the source's name; the window opens with the first picture, in the main thread."""
        self._title = self._title or info.name

    def write(self, ended: Ended, picture_bgr: NDArray[np.uint8] | None) -> None:  # noqa: ARG002  # only the picture
        """Keep a picture in place of the one before; never waits for the window."""
        if picture_bgr is not None:
            with self._lock:
                self._newest = picture_bgr

    def take(self) -> NDArray[np.uint8] | None:
        """Give the newest picture once, None where there is no new one; for any thread."""
        with self._lock:
            newest, self._newest = self._newest, None
        return newest

    def close(self) -> None:
        """Do nothing: the last picture stays until the windows are closed."""


class Windows(Protocol):
    """Windows of the desktop. All calls come from the main thread."""

    def show(self, title: str, picture_bgr: NDArray[np.uint8]) -> None:
        """Show a picture in the window of that title.

        Raises:
            OutputError: no window can be opened here.
        """

    def pressed(self) -> int:
        """Let the windows work, and give the key that was pressed, -1 for none."""

    def is_open(self, title: str) -> bool:
        """True unless the user has closed the window."""

    def close(self) -> None:
        """Close all windows."""


class Display:
    """Shows the newest pictures of some sinks, each in its window. All calls come from the main thread."""

    def __init__(self, windows: Windows | None = None) -> None:
        self._windows = windows or CvWindows()
        self._sinks: list[DisplaySink] = []
        self._shown: set[str] = set()

    def add(self, sink: DisplaySink) -> None:
        """Show a sink's pictures from now on."""
        self._sinks.append(sink)

    def poll(self) -> bool:
        """Show what is new and look for what the user did; call it some 30 times a second.

        Returns:
            False once the user wants it to end: q or Esc was pressed, or a window was closed.

        Raises:
            OutputError: no window can be opened here.
        """
        for sink in self._sinks:
            picture = sink.take()
            if picture is not None:
                self._windows.show(sink.title, picture)
                self._shown.add(sink.title)
        if not self._shown:
            return True
        is_ended = self._windows.pressed() in _CLOSING_KEYS
        return not is_ended and all(self._windows.is_open(title) for title in self._shown)

    def close(self) -> None:
        """Close all windows; closing again does nothing."""
        if self._shown:
            self._shown.clear()
            self._windows.close()


class CvWindows:
    """Windows that OpenCV opens.

    Args:
        check: makes sure that windows can be opened.

    Raises:
        OutputError: there is no desktop to open them on.
    """

    def __init__(self, check: Callable[[], None] | None = None) -> None:
        (check or _check_desktop)()
        self._opened: set[str] = set()

    def show(self, title: str, picture_bgr: NDArray[np.uint8]) -> None:
        """Show a picture in the window of that title."""
        try:
            if title not in self._opened:
                cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                height_px, width_px = picture_bgr.shape[:2]
                scale = min(1.0, _MOST_WIDTH_PX / width_px, _MOST_HEIGHT_PX / height_px)
                cv2.resizeWindow(title, max(1, round(width_px * scale)), max(1, round(height_px * scale)))
                self._opened.add(title)
            cv2.imshow(title, picture_bgr)
        except cv2.error as error:
            raise OutputError(
                "cannot open a window: this OpenCV was built without windows; install opencv-python in place of "
                "opencv-python-headless, or leave --display out"
            ) from error

    def pressed(self) -> int:
        """Let the windows work for a millisecond, and give the key that was pressed, -1 for none."""
        key = cv2.waitKey(1)
        return key if key < 0 else key & 0xFF

    def is_open(self, title: str) -> bool:
        """True unless the user has closed the window."""
        try:
            return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            return False

    def close(self) -> None:
        """Close all windows."""
        self._opened.clear()
        cv2.destroyAllWindows()


def _check_desktop() -> None:
    """Raise OutputError where there is no desktop: Qt ends the whole process there, so another process tries it."""
    if not sys.platform.startswith("linux"):
        return
    named = [f"{name}={os.environ[name]}" for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)]
    if not named:
        raise OutputError("cannot open a window: there is no desktop (DISPLAY is not set); leave --display out")
    try:
        code = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-P", "-c", _TRIAL],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TRIAL_S,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        code = 1
    if code:
        told = " and ".join(named)
        raise OutputError(f"cannot open a window: no desktop answers at {told}; mend that, or leave --display out")
