"""Which kind of source an address means."""

from __future__ import annotations

import pytest

from posestream.stages.source.camera import CameraSource
from posestream.stages.source.opening import SourceSettings, open_source
from posestream.stages.source.pictures import PictureSource
from posestream.stages.source.stream import StreamSource
from posestream.stages.source.video import VideoFileSource


@pytest.mark.parametrize(
    ("url", "kind", "is_live"),
    [
        ("0", CameraSource, True),
        ("/dev/video3", CameraSource, True),
        ("rtsp://cam/1", StreamSource, True),
        ("udp://0.0.0.0:5000", StreamSource, True),
        ("http://cam/clip.mp4", StreamSource, False),
        ("*.jpg", PictureSource, False),
        ("photo.JPG", PictureSource, False),
        ("clip.mp4", VideoFileSource, False),
        ("C:/clip.mp4", VideoFileSource, False),
        ("clip", VideoFileSource, False),
    ],
)
def test_kinds(url, kind, is_live):
    """Cameras, streams, pictures and video files are told apart by their addresses, without opening them."""
    source = open_source(SourceSettings(url))
    assert type(source) is kind
    assert source.is_live is is_live


def test_folder_is_pictures(tmp_path):
    """An existing folder is pictures."""
    assert type(open_source(SourceSettings(str(tmp_path)))) is PictureSource


def test_given_name():
    """A name that is given is kept."""
    assert open_source(SourceSettings("rtsp://cam/1", name="door")).name == "door"
