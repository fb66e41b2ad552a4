"""A camera of this machine, opened once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2  # noqa: F401 — before av: the other order hangs imshow
from av import open as open_media
from av.container import InputContainer
from av.error import FFmpegError

from posestream.stages.source.container import ContainerSource
from posestream.stages.source.hardware import accelerator
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp, now
from posestream.stages.source.trouble import LinkError

__all__ = ["CameraSource"]

#: By `sys.platform`: FFmpeg's input format, the options it cannot do without, and how a camera's number is written.
_INPUTS: dict[str, tuple[str, dict[str, str], str]] = {
    "linux": ("v4l2", {}, "/dev/video{}"),
    "darwin": ("avfoundation", {"framerate": "30"}, "{}:none"),
    "win32": ("dshow", {}, "{}"),
}


class CameraSource(ContainerSource):
    """Frames of a camera, given by its number or by /dev/videoN."""

    def __init__(self, settings: SourceSettings, clock: Callable[[], Stamp] = now) -> None:
        super().__init__(settings, is_live=True, clock=clock)
        self._number = settings.url.removeprefix("/dev/video")
        self._label = f"camera {int(self._number)}"

    def _open_container(self) -> InputContainer:
        if sys.platform not in _INPUTS:
            told = f"{self._label} cannot be opened: cameras are not supported on {sys.platform}"
            raise LinkError(told, is_final=True)
        kind, options, pattern = _INPUTS[sys.platform]
        device = _named(int(self._number)) if kind == "dshow" else pattern.format(int(self._number))
        try:
            return open_media(
                device,
                mode="r",
                format=kind,
                options=dict(options),
                timeout=(self._settings.reconnect.connect_s, None),
                hwaccel=accelerator(self._settings.hwaccel),
            )
        except (FFmpegError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise LinkError(f"{self._label} ({device}) cannot be opened: {reason}; {_present(kind)}") from error

    def _check_ending(self) -> None:
        reason = self._decoder.read_error.strerror if self._decoder and self._decoder.read_error else "it is gone"
        raise LinkError(f"{self._label} stopped: {reason}")

    def _nothing(self) -> str:
        return f"{self._label} gave no picture"


def _named(number: int) -> str:
    """Give the name that Windows wants instead of a camera's number."""
    cameras = _enumerated("dshow")
    return f"video={cameras[number]}" if number < len(cameras) else f"video={number}"


def _present(kind: str) -> str:
    """Tell which cameras there are."""
    cameras = sorted(str(path) for path in Path("/dev").glob("video*")) if kind == "v4l2" else _enumerated(kind)
    return f"cameras here: {', '.join(cameras)}" if cameras else "no camera is connected here"


def _enumerated(kind: str) -> list[str]:
    try:
        from av.device import enumerate_input_devices  # noqa: PLC0415 — PyAV 18 and newer have it
    except ImportError:
        return []
    try:
        return [device.description for device in enumerate_input_devices(kind) if "video" in device.media_types]
    except FFmpegError:
        return []
