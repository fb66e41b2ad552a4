"""Drawing: where the pixels go, what colours they have, and that nothing can upset it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from posestream.models.layout import LAYOUTS, Layout
from posestream.stages.items import FrameKey, Person, Poses
from posestream.stages.render import Renderer, label_text

NAN = float("nan")


def person_with(layout: Layout, **points: tuple[float, float, float]) -> Person:
    """Give a person of whom only the named keypoints were found."""
    keypoints = np.full((len(layout.keypoints), 3), NAN, np.float32)
    for name, point in points.items():
        keypoints[layout.keypoints.index(name)] = point
    return Person(keypoints, 0.8)


def drawn(layout: Layout, *people: Person, size: tuple[int, int] = (400, 600), label: str = "") -> NDArray[np.uint8]:
    """Draw people onto a grey picture."""
    picture = np.full((*size, 3), 128, np.uint8)
    given_back = Renderer(layout).draw(picture, Poses(FrameKey("door", 0), people), label)
    assert given_back is picture
    return picture


def changed(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Give H×W booleans: the pixel is no longer grey."""
    return np.any(picture != 128, axis=2)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_sides_are_told_apart(layout: Layout) -> None:
    """In every layout each keypoint has its colour, and a left one never looks like its right counterpart."""
    colours = {}
    for name in layout.keypoints:
        picture = drawn(layout, person_with(layout, **{name: (300.5, 200.5, 0.9)}))
        colours[name] = picture[200, 300].astype(int)

    for name in layout.keypoints:
        if name.startswith("right_"):
            other = "left_" + name.removeprefix("right_")
            assert np.abs(colours[name] - colours[other]).max() >= 60
    assert all(np.abs(colour - 128).max() >= 60 for colour in colours.values())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_limbs_of_the_layout_are_drawn(layout: Layout) -> None:
    """Any layout's limbs are drawn between their ends, but for those that would close a loop of others."""
    joined = []
    for first, second in combinations(range(len(layout.keypoints)), 2):
        ends = {layout.keypoints[first]: (200.0, 200.0, 0.9), layout.keypoints[second]: (400.0, 200.0, 0.9)}
        picture = drawn(layout, person_with(layout, **ends))
        if changed(picture)[200, 300]:
            joined.append((first, second))

    limbs = {(min(limb), max(limb)) for limb in layout.limbs}
    assert set(joined) <= limbs
    left_out = {tuple(layout.keypoints[end] for end in limb) for limb in limbs - set(joined)}
    assert left_out <= {("right_shoulder", "right_ear"), ("left_shoulder", "left_ear")}
    assert len(joined) == len(layout.keypoints) - 1


@pytest.mark.parametrize(("x", "y"), [(300.5, 200.5), (300.25, 200.75), (301.0, 200.0)])
def test_a_joint_is_where_it_is(x: float, y: float) -> None:
    """A joint's centre on the picture is the keypoint to a part of a pixel, a pixel's centre being at +0.5."""
    layout = LAYOUTS["openpose-18"]

    weights = np.abs(drawn(layout, person_with(layout, nose=(x, y, 0.9))).astype(float) - 128).sum(axis=2)

    rows, columns = np.indices(weights.shape) + 0.5
    assert np.average(columns, weights=weights) == pytest.approx(x, abs=0.1)
    assert np.average(rows, weights=weights) == pytest.approx(y, abs=0.1)


def test_what_was_not_found_is_not_drawn() -> None:
    """Missing, hopeless and absurdly far keypoints leave the picture as it was, and so do the limbs to them."""
    layout = LAYOUTS["openpose-18"]
    nobody = person_with(layout)
    hopeless = person_with(layout, nose=(300.0, 200.0, 0.01), neck=(1e12, 200.0, 0.9))

    assert not changed(drawn(layout, nobody, hopeless)).any()
    assert not changed(drawn(layout)).any()


def test_an_unsure_keypoint_is_fainter() -> None:
    """A keypoint with a low score is drawn smaller and darker than a sure one."""
    layout = LAYOUTS["openpose-18"]
    sure = drawn(layout, person_with(layout, nose=(300.5, 200.5, 0.9)))
    unsure = drawn(layout, person_with(layout, nose=(300.5, 200.5, 0.1)))

    assert 0 < changed(unsure).sum() < changed(sure).sum()
    assert unsure[200, 300].sum() < sure[200, 300].sum()


def test_lines_grow_with_the_picture() -> None:
    """The same person on a picture four times as wide has lines about four times as thick."""
    layout = LAYOUTS["openpose-18"]
    small = person_with(layout, neck=(300.0, 40.0, 0.9), right_hip=(300.0, 360.0, 0.9))
    large = Person(small.keypoints * np.array([4, 4, 1], np.float32), 0.8)

    thin = changed(drawn(layout, small, size=(400, 600)))[200].sum()
    thick = changed(drawn(layout, large, size=(1600, 2400)))[800].sum()

    assert 3 <= thick / thin <= 5


def test_the_best_person_is_on_top() -> None:
    """Where people overlap, the best one (the first) is seen."""
    layout = LAYOUTS["openpose-18"]
    right = person_with(layout, right_wrist=(300.5, 200.5, 0.9))
    left = person_with(layout, left_wrist=(300.5, 200.5, 0.9))

    assert (drawn(layout, right, left)[200, 300] == drawn(layout, right)[200, 300]).all()
    assert (drawn(layout, left, right)[200, 300] == drawn(layout, left)[200, 300]).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_the_label_has_contrast(grey: int) -> None:
    """A label is white on dark in the upper left corner, whatever is behind it, and touches nothing else."""
    picture = np.full((400, 600, 3), grey, np.uint8)
    Renderer(LAYOUTS["body-25"]).draw(picture, Poses(FrameKey("door", 0), ()), label_text(24.66, 2))

    assert picture.max() == 255
    assert picture[1, 1].max() <= 90
    assert (picture[100:] == grey).all()
    assert (picture[:, 400:] == grey).all()


def test_the_label_tells_rate_and_people() -> None:
    """The label says the frame rate only where it is known, and one person is not people."""
    assert label_text(24.66, 2) == "24.7 fps  2 people"
    assert label_text(None, 1) == "1 person"
    assert label_text(NAN, 0) == "0 people"


@given(
    hnp.arrays(
        np.float32,
        (3, 18, 3),
        elements=st.floats(-50, 200, width=32) | st.floats(width=32),
    ),
    st.tuples(st.integers(1, 40), st.integers(1, 60)),
)
def test_any_keypoints_can_be_drawn(keypoints: np.ndarray, size: tuple[int, int]) -> None:
    """No keypoints, however wild, and no picture, however small, upset the drawing."""
    people = [Person(rows, 0.5) for rows in keypoints]

    assert drawn(LAYOUTS["openpose-18"], *people, size=size, label="1.0 fps").shape == (*size, 3)
