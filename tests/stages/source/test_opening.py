"""Which kind of source an address means."""

from __future__ import annotations

import pytest
from av.error import ArgumentError, ProtocolNotFoundError

from posestream.stages.errors import SettingsError
from posestream.stages.source import line_protocol
from posestream.stages.source.live import LiveSource
from posestream.stages.source.opening import SourceSettings, open_source
from posestream.stages.source.pictures import PictureSource
from posestream.stages.source.video import VideoFileSource


@pytest.mark.parametrize(
    ("url", "kind", "is_live"),
    [
        ("0", LiveSource, True),
        ("/dev/video3", LiveSource, True),
        ("rtsp://cam/1", LiveSource, True),
        ("udp://0.0.0.0:5000", LiveSource, True),
        ("http://cam/video.mjpg", LiveSource, True),
        ("http://cam/clip.mp4", LiveSource, False),
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


@pytest.mark.parametrize(
    ("url", "settings", "said"),
    [
        ("clip.mp4", {"policy": "newest"}, "policy = newest means nothing for a file"),
        ("clip.mp4", {"kind": "live"}, "kind = live means nothing for a file"),
        ("clip.mp4", {"transport": "udp"}, "transport = udp means nothing for a file"),
        ("http://cam/1", {"transport": "udp"}, "transport = udp means nothing for what is no RTSP"),
        ("rtsp://me:secret@cam/1", {"realtime": True}, r"realtime = True means nothing for .* \(rtsp://cam/1\)"),
        ("0", {"start_s": 2.0}, "start_s = 2.0 means nothing for a camera"),
        ("a.jpg", {"fps": 2.0}, "fps = 2.0 means nothing for pictures"),
        ("synthetic:64x64", {"step": 2}, "step = 2 means nothing for a synthetic source"),
        (
            "clip.mp4",
            {"hwaccel": "magic"},
            "hwaccel 'magic' is not to be had: this FFmpeg was built without it; here is",
        ),
    ],
)
def test_what_does_not_fit(url, settings, said):
    """What a kind of source does not have is refused before anything is opened."""
    with pytest.raises(SettingsError, match=said):
        open_source(SourceSettings(url, **settings))


@pytest.mark.parametrize(
    "settings",
    [
        *({"fps": 0.0}, {"step": 0}, {"rotation": 45}, {"roi": (0, 0, 0, 5)}, {"max_age_s": 0.0}),
        *({"kind": "dead"}, {"policy": "oldest"}, {"transport": "post"}),
    ],
)
def test_values_without_sense(settings):
    """Values that mean nothing for any source are refused."""
    with pytest.raises((SettingsError, ValueError)):
        SourceSettings("rtsp://cam/1", **settings)


def test_a_protocol_that_ffmpeg_lacks(monkeypatch):
    """It is refused before anything is connected, in one line that names those that there are, without the password."""

    def without_srt(url, **_):
        if url.startswith("srt:"):
            raise ProtocolNotFoundError(0, "Protocol not found")
        raise ArgumentError(0, "not on the whitelist")

    monkeypatch.setattr(line_protocol, "open_media", without_srt)
    open_source(SourceSettings("udp://door:5000"))
    with pytest.raises(SettingsError) as caught:
        open_source(SourceSettings("srt://me:secret@door:5000"))
    assert str(caught.value) == (
        "source srt://door:5000: the FFmpeg that PyAV has here was built without srt://; "
        "it has: rtsp, rtsps, rtmp, rtmps, rtp, tcp, udp, http, https, file"
    )


def test_the_usual_protocols_are_there():
    """FFmpeg as PyAV brings it speaks what cameras speak, and what it does not know at all is found out."""
    for scheme in ("rtsp", "rtsps", "rtmp", "http", "https", "udp"):
        line_protocol.check_protocol(f"{scheme}://door/x")
    with pytest.raises(SettingsError, match="built without nosuch://; it has: rtsp"):
        line_protocol.check_protocol("nosuch://door/x")
