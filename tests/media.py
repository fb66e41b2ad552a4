"""Makes the small videos and pictures that tests read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: F401 — before av: the other order hangs imshow
import numpy as np
from av import open as open_media
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

Image = NDArray[np.uint8]

#: Milliseconds, the unit of `pts_ms`.
_MS = Fraction(1, 1000)


def numbered(count: int, width: int = 64, height: int = 48) -> list[Image]:
    """Make frames that tell their number by their gray: 16 + 4·number."""
    return [np.full((height, width, 3), 16 + 4 * number, np.uint8) for number in range(count)]


def number_of(image: Image) -> int:
    """Read the number that `numbered` wrote."""
    return round((float(image.mean()) - 16) / 4)


def cornered(width: int = 96, height: int = 64) -> Image:
    """Make a black picture with a red block at its top left and a green one at its top right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 4, : width // 4] = (0, 0, 255)
    image[: height // 4, -(width // 4) :] = (0, 255, 0)
    return image


def smooth(width: int, height: int) -> Image:
    """Make a picture with soft gradients of all colours and some fine texture."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [128 + 80 * np.sin(x / (9 + 7 * c) + c) * np.cos(y / (13 + 5 * c)) for c in range(3)]
    texture = 20 * np.sign(np.sin(x * 1.9) * np.sin(y * 2.3))
    return np.clip(np.stack(waves, axis=2) + texture[:, :, None], 0, 255).astype(np.uint8)


def write_video(  # noqa: PLR0913 — each is one trait of the file that some test needs
    path: Path,
    images: Iterable[Image],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: int = 10,
    pts_ms: Sequence[int] | None = None,
    rotation_deg: int = 0,
    matrix: Sequence[int] | None = None,
    sound_s: float = 0.0,
    aspect: Fraction | None = None,
    color: tuple[int, int] | None = None,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
) -> Path:
    """Write a video.

    `color` is FFmpeg's (colorspace, range), by which the pictures are converted as well; `matrix` the display matrix,
    nine numbers in 16.16 and 2.30 fixed point.
    """
    images = list(images)
    height, width = images[0].shape[:2]
    with open_media(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = _MS if pts_ms else Fraction(1, rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if color:
            stream.codec_context.colorspace, stream.codec_context.color_range = color
        if rotation_deg:
            stream.set_display_rotation(rotation_deg)
        if matrix:
            stream.set_display_matrix(matrix)
        sound = container.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48000) if sound_s else None
        for number, image in enumerate(images):
            frame = as_frame(image, pix_fmt, color)
            frame.pts = pts_ms[number] if pts_ms else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            for start in range(0, round(sound_s * 48000), 960):
                audio = AudioFrame.from_ndarray(np.zeros((2, 960), np.float32), format="fltp", layout="stereo")
                audio.sample_rate, audio.pts = 48000, start
                container.mux(sound.encode(audio))
            container.mux(sound.encode(None))
    return path


def as_frame(image: Image, pix_fmt: str, color: tuple[int, int] | None = None) -> VideoFrame:
    """Convert a picture without rounding it all one way; `color` is FFmpeg's (colorspace, range)."""
    space, color_range = color or (None, None)
    return VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24").reformat(
        format=pix_fmt,
        dst_colorspace=space,
        dst_color_range=color_range,
        interpolation=int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT),
    )


def write_sound(path: Path) -> Path:
    """Write a file with sound and no video."""
    with open_media(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        for start in range(0, 48000, 1024):
            audio = AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            audio.sample_rate, audio.pts = 48000, start
            container.mux(stream.encode(audio))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, share: float) -> Path:
    """Cut a file off after a share of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def spoil(path: Path, *numbers: int) -> Path:
    """Overwrite the video packets of these numbers with zeros."""
    with open_media(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        pos, size = places[number]
        # A JPEG's start, where it is one: containers may put a header of their own before it.
        at = max(pos, data.find(b"\xff\xd8", pos, pos + size))
        data[at : at + size - 16] = bytes(size - 16)
    path.write_bytes(data)
    return path


def noisy(count: int) -> list[Image]:
    """Make frames that do not compress well, so that packets are of like size."""
    return [np.roll(smooth(160, 120), 5 * number, axis=1) for number in range(count)]
