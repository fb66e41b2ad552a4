"""Pictures on their way into a video encoder: colours, even sizes, and other sizes."""

from __future__ import annotations

import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from posestream.stages.color import ColorTags
from posestream.stages.output.yuv import YuvCanvas

#: Weights of red and blue in luma (BT.601, BT.709, BT.2020) by FFmpeg's number of the matrix.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("color_range", [1, 2])
def test_colours_are_written_with_the_tags_matrix(matrix: int, color_range: int) -> None:
    """Luma is what the tags' matrix and range make of a colour, and a player gets the colour back."""
    blue, green, red = 30, 200, 90
    tags = ColorTags(matrix, color_range)

    frame = YuvCanvas(64, 48, tags).paint(np.full((48, 64, 3), (blue, green, red), np.uint8))

    weight_red, weight_blue = WEIGHTS[matrix]
    luma = weight_red * red + (1 - weight_red - weight_blue) * green + weight_blue * blue
    expected = 16 + 219 * luma / 255 if color_range == 1 else luma
    assert frame.format.name == "yuv420p"
    assert frame.to_ndarray()[20, 20] == pytest.approx(expected, abs=0.51)
    back = (
        VideoReformatter()
        .reformat(frame, format="bgr24", src_colorspace=matrix, src_color_range=color_range)
        .to_ndarray()
    )
    assert np.abs(back[20, 20].astype(int) - (blue, green, red)).max() <= 4


@pytest.mark.parametrize(("size", "even"), [((48, 64), (48, 64)), ((49, 65), (48, 64)), ((1, 1), (2, 2))])
def test_an_odd_size_loses_a_row_or_column(size: tuple[int, int], even: tuple[int, int]) -> None:
    """A picture of an odd size loses its last row or column, and nothing else moves."""
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2] = 255

    frame = YuvCanvas(width, height, ColorTags(6, 2)).paint(picture)

    assert (frame.height, frame.width) == even
    if height > 2:
        luma = frame.to_ndarray()[: frame.height]
        assert luma[: height // 2].min() >= 254
        assert luma[height // 2 :].max() <= 1


@pytest.mark.parametrize("size", [(20, 80), (80, 20), (300, 300), (7, 5)])
def test_another_size_is_fitted(size: tuple[int, int]) -> None:
    """A picture of another size is wholly there, in its own shape, centred on black."""
    height, width = size
    frame = YuvCanvas(64, 48, ColorTags(6, 2)).paint(np.full((height, width, 3), 255, np.uint8))

    luma = frame.to_ndarray()[:48]
    rows, columns = np.flatnonzero(luma.max(axis=1) > 128), np.flatnonzero(luma.max(axis=0) > 128)
    scale = min(64 / width, 48 / height)
    assert (len(columns), len(rows)) == (pytest.approx(width * scale, abs=1), pytest.approx(height * scale, abs=1))
    assert columns[0] + columns[-1] == pytest.approx(63, abs=1)
    assert rows[0] + rows[-1] == pytest.approx(47, abs=1)
    assert luma[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].min() >= 250


def test_a_matrix_that_nobody_writes_is_replaced() -> None:
    """A matrix that cannot be written is replaced, and the tags say by which."""
    assert YuvCanvas(64, 48, ColorTags(8, 1, 9, 16)).tags == ColorTags(1, 1, 9, 16)


def test_edges_of_a_picture_stay_sharp() -> None:
    """Luma is taken from each pixel by itself: a checkerboard keeps its black and white."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[::2, ::2] = picture[1::2, 1::2] = 255

    frame = YuvCanvas(64, 48, ColorTags(6, 2)).paint(picture)

    assert (frame.to_ndarray()[:48] == picture[:, :, 0]).all()
    assert np.abs(frame.to_ndarray()[48:].astype(int) - 128).max() <= 1


def test_the_picture_is_left_as_it_was() -> None:
    """Painting changes nothing in the picture, which other outputs have as well."""
    picture = np.random.default_rng(0).integers(0, 256, (49, 65, 3), np.uint8)
    picture.flags.writeable = False
    before = picture.copy()

    YuvCanvas(65, 49, ColorTags(6, 1)).paint(picture)
    YuvCanvas(30, 30, ColorTags(6, 1)).paint(picture)

    assert (picture == before).all()
