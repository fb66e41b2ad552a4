"""Opens sources: which kind of source an address means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from posestream.stages.source.address import holds_port
from posestream.stages.source.camera import CameraSource
from posestream.stages.source.hardware import check_hardware
from posestream.stages.source.line_protocol import check_protocol
from posestream.stages.source.live import LiveSource
from posestream.stages.source.name import derive_names, is_camera, is_url, redacted
from posestream.stages.source.paced import PacedSource
from posestream.stages.source.pictures import PictureSource, has_pictures, is_pictures, looked_at
from posestream.stages.source.place import is_there
from posestream.stages.source.port import UdpPort
from posestream.stages.source.protocol import Source, SourceInfo
from posestream.stages.source.settings import Kind, Policy, SourceSettings
from posestream.stages.source.stamp import Stamp
from posestream.stages.source.standard_input import STANDARD_INPUT, check_standard_input
from posestream.stages.source.stream import StreamSource, is_stream, looks_live
from posestream.stages.source.synthetic import SyntheticSource, is_synthetic
from posestream.stages.source.video import VideoFileSource

__all__ = [
    # what a source is
    "Source",
    "SourceInfo",
    "SourceSettings",
    # from addresses to sources
    "derive_names",
    "is_file_like",
    "is_kept",
    "is_missing",
    "is_standard_input",
    "looked_at",
    "open_source",
    "redacted",
]


def is_standard_input(url: str) -> bool:
    """True for what means standard input, which only one source of one process can read."""
    return url == STANDARD_INPUT


def is_missing(url: str) -> bool:
    """True for a file, folder or pattern that is not there; others can be known only when they are opened."""
    kind = _kind(url)
    return (kind is _video_file and not is_there(url)) or (kind is PictureSource and not has_pictures(url))


def is_kept(settings: SourceSettings) -> bool:
    """True for what has a connection that has states: cameras, streams, files played at their own speed."""
    return _kind(settings.url) in (_camera, _stream) or settings.realtime


def is_file_like(url: str) -> bool:
    """True for what names files of this machine: a file, a folder or a pattern."""
    return not (is_camera(url) or is_url(url) or is_synthetic(url) or is_standard_input(url))


def open_source(settings: SourceSettings, passed: int = 0) -> Source:
    """Make the source that an address means; its `open` does the work and finds what is wrong.

    Args:
        settings: which source, and how it is read.
        passed: so many frames at its beginning an earlier process took; a file at its own speed goes on behind them.

    Raises:
        SettingsError: something was asked for that this kind of source, or this machine, does not have.
    """
    check_hardware(settings.hwaccel)
    check_protocol(settings.url)
    make = _kind(settings.url)
    return _played(settings, passed) if make is _video_file and settings.realtime else make(settings)


def _camera(settings: SourceSettings) -> Source:
    settings.refuse("a camera", "start_s", "realtime", "transport")
    inner = _inner(settings)
    return LiveSource(settings, lambda clock: CameraSource(inner, clock))


def _stream(settings: SourceSettings) -> Source:
    settings.refuse("what is no file of this machine", "realtime")
    if not settings.url.lower().startswith("rtsp"):
        settings.refuse("what is no RTSP", "transport")
    is_lasting = looks_live(settings)
    if settings.url == STANDARD_INPUT:
        check_standard_input()
        is_lasting = False
    inner = _inner(settings)
    return LiveSource(
        settings,
        lambda clock: StreamSource(inner, clock),
        is_lasting=is_lasting,
        port=UdpPort(settings.url) if holds_port(settings.url) else None,
    )


def _video_file(settings: SourceSettings) -> Source:
    settings.refuse("a file", "transport", "reconnect")
    what = "a file that is read as fast as it goes; realtime = true plays it at its own speed"
    if settings.kind is Kind.LIVE:
        settings.refuse(what, "kind")
    settings.refuse(what, "policy", "max_age_s")
    return VideoFileSource(settings)


def _played(settings: SourceSettings, passed: int) -> Source:
    settings.refuse("a file", "transport", "reconnect")
    inner = _inner(settings)

    def connect(clock: Callable[[], Stamp]) -> Source:
        file = VideoFileSource(replace(inner, policy=Policy.AUTO), clock)
        return PacedSource(file, inner, clock, passed=passed)

    return LiveSource(settings, connect, is_lasting=False, passed=passed)


def _inner(settings: SourceSettings) -> SourceSettings:
    """Give the settings of one connection: how many frames are wanted altogether is not its matter."""
    return replace(settings, max_frames=None)


#: The kinds of sources, asked in this order whether an address is theirs.
_KINDS: tuple[tuple[Callable[[str], bool], Callable[[SourceSettings], Source]], ...] = (
    (is_camera, _camera),
    (is_stream, _stream),
    (is_synthetic, SyntheticSource),
    (is_pictures, PictureSource),
    (lambda _: True, _video_file),
)


def _kind(url: str) -> Callable[[SourceSettings], Source]:
    return next(make for is_kind, make in _KINDS if is_kind(url))
