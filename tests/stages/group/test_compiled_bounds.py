"""The compiled module alone: nothing that it is given makes it read or write where it must not.

`.ci/sanitize` runs this with AddressSanitizer and UndefinedBehaviorSanitizer, and many more rounds.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from posestream.models.layout import LAYOUTS
from posestream.stages.group.compiled import NotCompiledError, load
from posestream.stages.group.zoom import zoom_taps

try:
    decode = load().decode
except NotCompiledError as error:
    pytest.skip(str(error), allow_module_level=True)

#: Random calls; `POSESTREAM_FUZZ` asks for more.
ROUNDS = int(os.environ.get("POSESTREAM_FUZZ", "400"))
LAYOUT = LAYOUTS["openpose-18"]
LIMBS = np.array([(*limb, *pair) for limb, pair in zip(LAYOUT.limbs, LAYOUT.paf_channels, strict=True)], np.int32)
SETTINGS = (0.03, 0.02, 0.01, 5, 2, 128, 128, False)
VIEW = (8.0, 8.0, 60.0, 40.0, 456.0, 256.0)


def arguments(height: int = 6, width: int = 9) -> dict[str, Any]:
    """Give what fits together."""
    rng = np.random.default_rng(0)
    return {
        "heatmaps": rng.random((18, height, width), np.float32),
        "pafs": rng.random((38, height, width), np.float32),
        "across": zoom_taps(width),
        "down": zoom_taps(height),
        "limbs": LIMBS,
        "settings": SETTINGS,
        "view": VIEW,
    }


def changed_limbs(column: int, value: int) -> np.ndarray:
    """Give limbs of which one has another number."""
    limbs = LIMBS.copy()
    limbs[3, column] = value
    return limbs


@pytest.mark.parametrize(
    "change",
    [
        {"heatmaps": np.zeros((18, 6, 9))},
        {"heatmaps": np.zeros((18, 6, 9), np.int32)},
        {"heatmaps": np.zeros((18, 6, 9), ">f4")},
        {"heatmaps": np.zeros((18, 54), np.float32)},
        {"heatmaps": np.zeros((0, 6, 9), np.float32)},
        {"heatmaps": np.zeros((63, 6, 9), np.float32)},
        {"heatmaps": np.zeros((18, 0, 9), np.float32)},
        {"heatmaps": np.zeros((18, 6, 10), np.float32)},
        {"heatmaps": np.zeros((1, 1, 4097), np.float32)},
        {"heatmaps": np.frombuffer(bytes(4 * 18 * 54 + 1), np.float32, offset=1).reshape(18, 6, 9)},
        {"heatmaps": np.zeros((18, 6, 18), np.float32)[:, :, ::2]},
        {"pafs": np.zeros((38, 9, 6), np.float32)},
        {"pafs": np.zeros((37, 6, 9), np.float32)},
        {"pafs": np.zeros((513, 6, 9), np.float32)},
        {"across": zoom_taps(8)},
        {"across": zoom_taps(9)[:, :6].copy()},
        {"down": zoom_taps(9)},
        {"limbs": LIMBS.astype(np.int64)},
        {"limbs": LIMBS[:, :3].copy()},
        {"limbs": LIMBS[:0]},
        {"limbs": np.zeros((257, 4), np.int32)},
        {"limbs": changed_limbs(0, 18)},
        {"limbs": changed_limbs(1, -1)},
        {"limbs": changed_limbs(2, 38)},
        {"limbs": changed_limbs(3, -(2**31))},
        {"settings": (-0.1, *SETTINGS[1:])},
        {"settings": (float("nan"), *SETTINGS[1:])},
        {"settings": (*SETTINGS[:3], 9, *SETTINGS[4:])},
        {"settings": (*SETTINGS[:5], 0, 128, False)},
        {"settings": (*SETTINGS[:6], 1001, False)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    """Arrays of other kinds and shapes, and numbers out of range, are an error before anything is read."""
    decode(*arguments().values())
    with pytest.raises((ValueError, BufferError)):
        decode(*(arguments() | change).values())


@pytest.mark.parametrize("change", [{"heatmaps": None}, {"settings": SETTINGS[:-1]}, {"view": ("8",) * 6}, {"view": 1}])
def test_what_is_of_another_type_is_refused(change: dict[str, Any]) -> None:
    """Objects that are no arrays or no numbers are a TypeError."""
    with pytest.raises(TypeError):
        decode(*(arguments() | change).values())


def test_numbers_beyond_32_bits_are_refused() -> None:
    """A number that no C integer holds is an error, not another number."""
    with pytest.raises(OverflowError):
        decode(*(arguments() | {"settings": (*SETTINGS[:5], 2**40, 128, False)}).values())


def test_any_values_in_any_shapes_are_survived() -> None:
    """Random bits as maps, weights, views and settings: people within their bounds, or an error, and no more."""
    rng = np.random.default_rng(7)
    accepted = 0
    for _ in range(ROUNDS):
        given = random_arguments(rng)
        try:
            keypoints, scores, _ = decode(*given.values())
        except ValueError:
            continue
        accepted += 1
        assert len(keypoints) == 3 * len(given["heatmaps"]) * len(scores)
        assert len(scores) // 4 <= given["settings"][5]
    assert accepted > ROUNDS / 4


def random_arguments(rng: np.random.Generator) -> dict[str, Any]:
    """Give a call that mostly fits together, with any bits in its arrays."""
    height, width, parts = (int(rng.integers(1, most)) for most in (30, 40, 26))
    channels, count = int(rng.integers(1, 53)), int(rng.integers(1, 30))
    limbs = np.stack([rng.integers(0, most, count) for most in (parts, parts, channels, channels)], axis=1)
    if rng.random() < 0.1:
        limbs[rng.integers(count), rng.integers(4)] = rng.integers(-3, 60)
    is_trusted = rng.random() < 0.7
    return {
        "heatmaps": bits(rng, (parts, height, width)),
        "pafs": bits(rng, (channels, height, width if rng.random() < 0.95 else width + 1)),
        "across": zoom_taps(width) if is_trusted else bits(rng, (2 * width, 7)),
        "down": zoom_taps(height) if is_trusted else bits(rng, (2 * height, 7)),
        "limbs": limbs.astype(np.int32),
        "settings": (
            float(rng.choice([0, 0.03, 1e-45, 1])),
            float(rng.choice([0, 0.02, 1])),
            float(rng.choice([0, 0.01])),
            *(int(number) for number in (rng.integers(0, 9), rng.integers(1, 4))),
            *(int(number) for number in rng.choice([1, 3, 128, 1000], 2)),
            bool(rng.random() < 0.2),
        ),
        "view": tuple(bits(rng, (6,)).tolist()),
    }


def bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Give random bits as floats, or numbers of a sensible size."""
    if rng.random() < 0.3:
        return rng.integers(0, 2**32, shape, np.uint32).view(np.float32)
    return rng.standard_normal(shape).astype(np.float32)
