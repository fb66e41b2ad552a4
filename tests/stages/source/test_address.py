"""What a source's address may look like."""

from __future__ import annotations

import pytest

from posestream.stages.errors import SettingsError
from posestream.stages.source.opening import SourceSettings, is_missing, open_source


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("rtsp://bob:se/cret@host/l", "port is no number from 0 to 65535; in a user or password write / as %2F"),
        ("rtsp://bob:se#cret@host/l", "in a user or password write / as %2F, ? as %3F, # as %23 and @ as %40"),
        ("http://bob:se?cret@host/l", "in a user or password write"),
        ("rtsp://bob:12/secret@host/l", "its host cannot be told; in a user or password write"),
        ("rtsp://host:door/l", "port is no number"),
        ("rtsp://host:99999/l", "port is no number"),
        ("rtsp://", "it has no host; write rtsp://HOST/PATH"),
        ("rtsp:///x", "it has no host"),
        ("http://:80/x", "it has no host"),
        ("rtsp://[::1/l", "unpaired bracket"),
        ("ftp://host/clip.mp4", "ftp:// is not known; known are: rtsp, rtsps, rtmp"),
        ("gopher://bob:secret@host/x", "gopher:// is not known"),
        ("rtsp:/bob:secret@h/l", "write rtsp:// with two slashes"),
        ("RTSP:host/l", "write rtsp:// with two slashes"),
        ("file://clip.mp4", "a file's address is file:///PATH"),
        ("clip\0.mp4", "'clip\\x00.mp4': it has signs in it that no address"),
        ("clip\ud800.mp4", "'clip\\ud800.mp4': it has signs in it that no address"),
        ("rtsp://bob:secret@h\0/x", "'rtsp://h\\x00/x': it has signs"),
        ("rtsp://h/\udcff", "it has signs"),
        ("file:///clip%00.mp4", "it has signs"),
        ("file://host/clip.mp4", "a file's address is file:///PATH"),
    ],
)
def test_refused(url: str, why: str) -> None:
    """What cannot be meant is refused at once, whoever gives it, on a line that tells no password."""
    with pytest.raises(SettingsError) as caught:
        SourceSettings(url)
    assert why in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("rtsp://host", "rtsp://me:p%2Fw@host:554/l", "rtsp://me:p@w@host/l", "rtsp://[::1]:554/l"),
        *("rtsp://host/stream@1", "http://host:8080/@me/x.mp4", "http://host/x?user=a@b", "udp://@:5000"),
        *("udp://:1234", "tcp://0.0.0.0:1?listen", "srt://:42?mode=listener", "-", "0", "clip@home.mp4", "C:/clip.mp4"),
    ],
)
def test_accepted(url: str) -> None:
    """What FFmpeg and people understand is left as it is."""
    assert SourceSettings(url).url == url


def test_small_letters() -> None:
    """A scheme may be written in capitals; what follows it is kept."""
    assert SourceSettings("RTSP://Host/Live").url == "rtsp://Host/Live"


def test_a_file_by_its_address(media, tmp_path) -> None:
    """A `file://` address is the file: one that is there gives every frame, and one that is not is missing."""
    path = media.write_video(tmp_path / "a clip.mp4", media.numbered(10))
    settings = SourceSettings(f"file://{tmp_path}/a%20clip.mp4")
    with open_source(settings) as source:
        info = source.open()
        assert (info.is_live, len(list(source.frames()))) == (False, 10)
    assert settings.url == str(path)
    assert not is_missing(settings.url)
    assert is_missing(SourceSettings("file:///nope.mp4").url)
