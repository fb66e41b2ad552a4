"""Windows: the newest picture is shown, by the main thread only, until the user has seen enough."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from posestream.stages.errors import OutputError
from posestream.stages.items import Frame, FrameKey, Poses
from posestream.stages.output.display import CvWindows, Display, DisplaySettings, DisplaySink
from posestream.stages.output.sink import Ended

KEY = FrameKey("door", 0)
ENDED = Ended(Frame(KEY, 0, 0, Fraction(1, 30), 0.0, 0.0, 64, 48, None), Poses(KEY, ()), {})


class FakeWindows:
    """Windows without a desktop: they remember what they were shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, int]] = []
        self.key = -1
        self.closed_by_user: set[str] = set()
        self.is_closed = False

    def show(self, title: str, picture_bgr: NDArray[np.uint8]) -> None:
        self.shown.append((title, int(picture_bgr[0, 0, 0])))

    def pressed(self) -> int:
        return self.key

    def is_open(self, title: str) -> bool:
        return title not in self.closed_by_user

    def close(self) -> None:
        self.is_closed = True


def a_sink(name: str, title: str = "") -> DisplaySink:
    """Give the sink of a source."""
    sink = DisplaySink(DisplaySettings(title))
    sink.open(cast(Any, SimpleNamespace(name=name)))
    return sink


def a_picture(grey: int) -> NDArray[np.uint8]:
    """Give a small picture of one brightness."""
    return np.full((4, 4, 3), grey, np.uint8)


def test_only_the_newest_picture_is_shown() -> None:
    """Pictures that come faster than they are shown are passed over, and none is shown twice."""
    windows = FakeWindows()
    display, sink = Display(windows), a_sink("door")
    display.add(sink)

    assert display.poll()
    for grey in (1, 2, 3):
        sink.write(ENDED, a_picture(grey))
    sink.write(ENDED, None)
    assert display.poll()
    assert display.poll()

    assert windows.shown == [("door", 3)]


def test_each_source_has_its_window() -> None:
    """Every source is shown in a window with its own name, or the title that was set."""
    windows = FakeWindows()
    display, sinks = Display(windows), [a_sink("door"), a_sink("hall", "Great hall")]
    for grey, sink in enumerate(sinks):
        display.add(sink)
        sink.write(ENDED, a_picture(grey))
    display.poll()

    assert windows.shown == [("door", 0), ("Great hall", 1)]
    assert [sink.name for sink in sinks] == ["window door", "window Great hall"]
    assert sinks[0].paths == ()


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27])
def test_a_key_ends_it(key: int) -> None:
    """Pressing q or Esc ends the display; other keys do not."""
    windows = FakeWindows()
    display, sink = Display(windows), a_sink("door")
    display.add(sink)
    sink.write(ENDED, a_picture(1))
    windows.key = ord("x")
    assert display.poll()

    windows.key = key

    assert not display.poll()


def test_closing_a_window_ends_it() -> None:
    """A window that the user closed ends the display, and closing the display closes the others once."""
    windows = FakeWindows()
    display, sink = Display(windows), a_sink("door")
    display.add(sink)
    display.close()
    assert not windows.is_closed
    sink.write(ENDED, a_picture(1))
    display.poll()
    windows.closed_by_user.add("door")

    assert not display.poll()
    display.close()
    assert windows.is_closed


def test_no_desktop_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a desktop the display is refused in one line, before Qt can end the process."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    with pytest.raises(OutputError, match=r"^cannot open a window: there is no desktop[^\n]*$"):
        Display()


def test_a_desktop_that_has_gone_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing answers at the desktop's address, another process than this one is ended by Qt for it."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", ":7777")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    with pytest.raises(OutputError, match=r"^cannot open a window: no desktop answers at DISPLAY=:7777; [^\n]*$"):
        Display()


def test_opencv_without_windows_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenCV that was built without windows is refused in one line that names the right package."""

    def refuse(*_: object) -> None:
        raise cv2.error("The function is not implemented. Rebuild the library with GTK+ support.")

    monkeypatch.setattr(cv2, "namedWindow", refuse)

    with pytest.raises(OutputError, match=r"^cannot open a window: [^\n]*install opencv-python [^\n]*$"):
        CvWindows(check=lambda: None).show("door", a_picture(1))


def test_opencv_windows_begin_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture's window begins with a size that fits a screen, once, and the picture goes in whole."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(cv2, "namedWindow", lambda *values: calls.append(("named", *values)))
    monkeypatch.setattr(cv2, "resizeWindow", lambda *values: calls.append(("resized", *values)))
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: calls.append(("shown", title, picture.shape)))
    windows = CvWindows(check=lambda: None)

    for _ in range(2):
        windows.show("door", np.zeros((1440, 2560, 3), np.uint8))

    shown = ("shown", "door", (1440, 2560, 3))
    flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO
    assert calls == [("named", "door", flags), ("resized", "door", 1280, 720), shown, shown]
