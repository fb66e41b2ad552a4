"""Cameras as sources, with a file in the camera's place: no test machine has one."""

from __future__ import annotations

import cv2  # noqa: F401 — before av: the other order hangs imshow
import pytest
from av import open as open_media
from av.error import FileNotFoundError  # noqa: A004 — the one that PyAV raises

from posestream.stages.errors import SourceError
from posestream.stages.source import camera as source_camera
from posestream.stages.source.camera import CameraSource
from posestream.stages.source.opening import SourceSettings


@pytest.fixture
def opened(media, tmp_path, monkeypatch):
    """Let every camera be a clip of five frames; give what was asked of PyAV."""
    path = media.write_video(tmp_path / "clip.mp4", media.numbered(5))
    asked = []

    def fake_open(device, **options):
        asked.append((device, options["format"], options["options"]))
        return open_media(str(path))

    monkeypatch.setattr(source_camera, "open_media", fake_open)
    return asked


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ("/dev/video2", "v4l2", {})),
        ("darwin", ("2:none", "avfoundation", {"framerate": "30"})),
        ("win32", ("video=Third", "dshow", {})),
    ],
)
def test_how_each_system_is_asked(opened, monkeypatch, platform, expected):
    """A camera's number is written as each system wants it."""
    monkeypatch.setattr(source_camera.sys, "platform", platform)
    monkeypatch.setattr(source_camera, "_enumerated", lambda kind: ["First", "Second", "Third"])
    with CameraSource(SourceSettings("/dev/video2")) as source:
        source.open()
    assert opened == [expected]


def test_frames_and_ending(opened, media):
    """A camera's frames come as live ones, and its ending is an error: cameras do not end."""
    with CameraSource(SourceSettings("0")) as source:
        info = source.open()
        frames = source.frames()
        assert [media.number_of(next(frames).picture.bgr()) for _ in range(5)] == list(range(5))
        with pytest.raises(SourceError, match="camera 0 stopped: it is gone"):
            next(frames)
    assert (info.name, info.is_live, info.frame_count, info.path) == ("camera-0", True, None, None)


@pytest.mark.parametrize(
    ("present", "said"),
    [([], "no camera is connected here"), (["video1", "video0"], "cameras here: /dev/video0, /dev/video1")],
)
def test_missing_camera(monkeypatch, present, said):
    """A camera that is not there is told together with those that are."""
    monkeypatch.setattr(source_camera.sys, "platform", "linux")

    def refuse(*args, **kwargs):
        raise FileNotFoundError(2, "No such file or directory", "/dev/video7")

    monkeypatch.setattr(source_camera, "open_media", refuse)
    monkeypatch.setattr(source_camera.Path, "glob", lambda self, pattern: [self / name for name in present])
    with pytest.raises(SourceError) as caught:
        CameraSource(SourceSettings("7")).open()
    assert str(caught.value) == f"camera 7 (/dev/video7) cannot be opened: No such file or directory; {said}"


def test_unknown_system(monkeypatch):
    """A system without a known way to its cameras is told."""
    monkeypatch.setattr(source_camera.sys, "platform", "plan9")
    with pytest.raises(SourceError, match="cameras are not supported on plan9"):
        CameraSource(SourceSettings("0")).open()
