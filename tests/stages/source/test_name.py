"""Source names, and addresses without their secrets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestream.stages.source.opening import derive_names, redacted


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/videos/Front Door.mp4", "front-door"),
        ("clip.tar.mp4", "clip.tar"),
        ("0", "camera-0"),
        ("/dev/video12", "camera-12"),
        ("rtsp://user:secret@Cam.local:554/live?x=1", "cam.local"),
        ("http://10.0.0.7/video.mjpg", "10.0.0.7"),
        ("rtsp://[fe80::1]/a", "fe80-1"),
        ("http://[::1]:8080/a", "ipv6-1"),
        ("photos/2024/*.jpg", "2024"),
        ("photos/**/day/*.jpg", "photos"),
        ("*.jpg", "pictures"),
        ("日本.mp4", "source"),
        ("über clip.mp4", "uber-clip"),
        ("u\u0308ber clip.mp4", "uber-clip"),
        ("Straße Łódź Ærø.mp4", "strasse-lodz-aero"),
    ],
)
def test_derived(url, name):
    """A name is the file's stem, the host, the folder or the camera's number, in plain letters."""
    assert derive_names([url]) == [name]


def test_folder(tmp_path):
    """A folder gives its whole name, dots included."""
    folder = tmp_path / "Day 1.raw"
    folder.mkdir()
    assert derive_names([str(folder), f"{folder}/"]) == ["day-1.raw", "day-1.raw-2"]


def test_clashes():
    """Clashes are numbered from 2, past names that are there already."""
    assert derive_names(["a/x.mp4", "b/x.mp4", "x-2.mp4", "c/x.avi"]) == ["x", "x-2", "x-2-2", "x-3"]
    assert derive_names(["a/x.mp4", "b/x.mp4"], taken=["x", "x-3"]) == ["x-2", "x-4"]


def test_long_names_are_shortened_and_differ():
    """A long name is cut so that files called after it can be written; names that differ at their end still do."""
    urls = [f"{'x' * 300}{end}.mp4" for end in ("a", "b")]
    first, second = derive_names(urls)
    assert first != second
    assert derive_names(urls) == [first, second]
    assert all(len(name) <= 100 and name.startswith("x" * 90) for name in (first, second))


@given(st.lists(st.text(min_size=1).filter(lambda url: "\0" not in url and len(url) < 80)))
def test_names_are_valid_and_unique(urls):
    """Whatever the addresses are, names are valid and differ."""
    names = derive_names(urls)
    assert all(re.fullmatch(r"[a-z0-9_.-]+", name) for name in names)
    assert len(set(names)) == len(urls)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@cam/live", "rtsp://cam/live"),
        ("rtsp://secret@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://user:se@cret@cam/live", "rtsp://cam/live"),
        ("http://cam/video?password=secret", "http://cam/video?…"),
        ("http://cam/video#secret", "http://cam/video"),
        ("rtsp://user:secret/x#y?@cam/live", "rtsp://cam"),
        ("rtsp://cam/user=me&password=secret&channel=1", "rtsp://cam/user=…&password=…&channel=…"),
        ("rtsp://cam/stream@1", "rtsp://cam/stream@1"),
        ("clip@home.mp4", "clip@home.mp4"),
    ],
)
def test_redacted(url, shown):
    """An address is shown without user, password and query."""
    assert redacted(url) == shown
    assert "secret" not in redacted(url) + derive_names([url])[0]
