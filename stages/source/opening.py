"""Opens sources: which kind of source an address means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from posestream.stages.source.camera import CameraSource
from posestream.stages.source.name import derive_names, is_camera, is_url, redacted
from posestream.stages.source.pictures import PictureSource, is_pictures
from posestream.stages.source.protocol import Source, SourceInfo, SourceSettings
from posestream.stages.source.stream import StreamSource
from posestream.stages.source.synthetic import SyntheticSource, is_synthetic
from posestream.stages.source.video import VideoFileSource

__all__ = [
    # what a source is
    "Source",
    "SourceInfo",
    "SourceSettings",
    # from addresses to sources
    "derive_names",
    "is_missing",
    "open_source",
    "redacted",
]

#: The kinds of sources, asked in this order whether an address is theirs.
_KINDS: tuple[tuple[Callable[[str], bool], Callable[[SourceSettings], Source]], ...] = (
    (is_camera, CameraSource),
    (is_url, StreamSource),
    (is_synthetic, SyntheticSource),
    (is_pictures, PictureSource),
    (lambda _: True, VideoFileSource),
)


def is_missing(url: str) -> bool:
    """True for the address of a file that is not there; others can be known only when they are opened."""
    kind = next(make for is_kind, make in _KINDS if is_kind(url))
    return kind is VideoFileSource and not Path(url).exists()


def open_source(settings: SourceSettings) -> Source:
    """Make the source that an address means; its `open` does the work and finds what is wrong."""
    return next(make for is_kind, make in _KINDS if is_kind(settings.url))(settings)
