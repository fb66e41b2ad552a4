"""Picture files as sources."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from posestream.stages.errors import SettingsError, SourceError
from posestream.stages.source.opening import SourceSettings
from posestream.stages.source.pictures import PictureSource


def save(path, image):
    """Write a picture file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def with_orientation(path, value):
    """Put an EXIF orientation into a JPEG file."""
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, value, 0, 0])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + tag + b"\0\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    return path


def read(url, **settings):
    """Read a source of pictures to its end."""
    with PictureSource(SourceSettings(str(url), **settings)) as source:
        info = source.open()
        return info, list(source.frames())


def test_folder_in_natural_order(media, tmp_path):
    """A folder's pictures come in the order people would sort them, with their names and without a time."""
    for number, name in enumerate(["a2.png", "a10.png", "b1.PNG"]):
        save(tmp_path / name.lower(), media.numbered(4)[number]).rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    save(tmp_path / "deeper" / "c.png", media.numbered(1)[0])
    info, frames = read(tmp_path)
    assert [frame.name for frame in frames] == ["a2.png", "a10.png", "b1.PNG"]
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == [0, 1, 2]
    assert [frame.key.seq for frame in frames] == [0, 1, 2]
    assert {frame.pts_s for frame in frames} == {None}
    assert (info.width, info.height, info.frame_count, info.is_live, info.path) == (64, 48, 3, False, None)


@pytest.mark.parametrize("pattern", ["**/*.jpg", "day?/*.jpg"])
def test_pattern(media, tmp_path, pattern):
    """A pattern finds pictures in folders below, named relative to the part that is written out."""
    for name in ("day2/x.jpg", "day1/x.jpg"):
        save(tmp_path / name, media.numbered(1)[0])
    _, frames = read(tmp_path / pattern)
    assert [frame.name for frame in frames] == ["day1/x.jpg", "day2/x.jpg"]


def test_single_file_with_brackets(media, tmp_path):
    """A file whose name looks like a pattern is that file."""
    path = save(tmp_path / "x[1].png", media.numbered(1)[0])
    info, frames = read(path)
    assert (info.name, [frame.name for frame in frames]) == ("x-1", ["x[1].png"])


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    # where the red block of the stored top left corner is in the upright picture, as (row, column)
    [
        (1, (96, 64), (5, 5)),
        (2, (96, 64), (5, -5)),
        (3, (96, 64), (-5, -5)),
        (4, (96, 64), (-5, 5)),
        (5, (64, 96), (5, 5)),
        (6, (64, 96), (5, -5)),
        (7, (64, 96), (-5, -5)),
        (8, (64, 96), (-5, 5)),
    ],
)
def test_exif_orientation(media, tmp_path, orientation, size, red):
    """A photo comes upright whatever its EXIF orientation."""
    path = with_orientation(save(tmp_path / "photo.jpg", media.cornered()), orientation)
    info, frames = read(path)
    assert (info.width, info.height) == (frames[0].width, frames[0].height) == size
    assert frames[0].picture.bgr()[red].argmax() == 2


def test_broken_pictures(media, tmp_path, capfd):
    """A broken picture among others is a frame without a picture, and nothing is printed."""
    save(tmp_path / "2.png", media.numbered(1)[0])
    (tmp_path / "1.jpg").write_text("no picture")
    (tmp_path / "3.jpg").touch()
    media.cut(save(tmp_path / "4.png", media.smooth(64, 48)), 0.5)
    media.cut(save(tmp_path / "5.jpg", media.smooth(64, 48)), 0.5)
    info, frames = read(tmp_path)
    assert [frame.picture is None for frame in frames] == [True, False, True, True, True]
    assert [(frame.width, frame.height) for frame in frames[:2]] == [(0, 0), (64, 48)]
    assert (info.width, info.frame_count) == (64, 5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "image",
    [
        np.full((1, 1, 3), 77, np.uint8),
        np.full((3, 5), 77, np.uint8),
        np.full((3, 5, 4), 77, np.uint8),
        np.full((3, 5, 3), 77 * 257, np.uint16),
    ],
    ids=["1x1", "gray", "transparent", "16 bit"],
)
def test_kinds_of_pictures(tmp_path, image):
    """Tiny, gray, transparent and deep pictures become 8-bit BGR."""
    _, frames = read(save(tmp_path / "x.png", image))
    got = frames[0].picture.bgr()
    assert got.shape == (*image.shape[:2], 3)
    assert (got == 77).all()


def test_max_frames(media, tmp_path):
    """Reading stops after the number of pictures that was asked for."""
    for number in range(5):
        save(tmp_path / f"{number}.png", media.numbered(1)[0])
    info, frames = read(tmp_path, max_frames=3)
    assert (info.frame_count, len(frames)) == (3, 3)


def test_nothing_to_read(tmp_path):
    """A missing file, a folder without pictures and broken pictures are each told in one line."""
    with pytest.raises(SourceError, match=r"x\.png does not exist$"):
        read(tmp_path / "x.png")
    with pytest.raises(SourceError, match=r"holds no pictures \(\.bmp, .*\.webp\)$"):
        read(tmp_path)
    with pytest.raises(SourceError, match=r"\*\.jpg holds no pictures"):
        read(tmp_path / "*.jpg")
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(SourceError, match=r"x\.png cannot be decoded; it is damaged or not a picture$"):
        read(tmp_path / "x.png")
    (tmp_path / "y.png").write_text("no picture")
    with pytest.raises(SourceError, match="holds no picture that can be decoded"):
        read(tmp_path)


def test_pictures_have_no_start(tmp_path):
    """A start time makes no sense for pictures and is refused."""
    with pytest.raises(SettingsError, match="means nothing for pictures"):
        PictureSource(SourceSettings(str(tmp_path), start_s=1.0))
