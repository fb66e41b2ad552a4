"""Synthetic field maps: planted people whose keypoints are known, for tests, benches and engines that only pretend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posestream.models.layout import Layout

__all__ = ["largest_connected", "planted_maps", "random_people", "standing_person"]

#: Where each part is on a standing person who is 1 high, seen from the front (their right is on the left);
#: x from the middle, y from the top.
_STANDING = {
    "head": (0.0, 0.02),
    "nose": (0.0, 0.09),
    "neck": (0.0, 0.19),
    "right_shoulder": (-0.11, 0.20),
    "right_elbow": (-0.15, 0.36),
    "right_wrist": (-0.17, 0.50),
    "left_shoulder": (0.11, 0.20),
    "left_elbow": (0.15, 0.36),
    "left_wrist": (0.17, 0.50),
    "chest": (0.0, 0.34),
    "mid_hip": (0.0, 0.52),
    "right_hip": (-0.07, 0.52),
    "right_knee": (-0.08, 0.74),
    "right_ankle": (-0.09, 0.94),
    "left_hip": (0.07, 0.52),
    "left_knee": (0.08, 0.74),
    "left_ankle": (0.09, 0.94),
    "right_eye": (-0.02, 0.07),
    "left_eye": (0.02, 0.07),
    "right_ear": (-0.05, 0.08),
    "left_ear": (0.05, 0.08),
    "left_big_toe": (0.11, 0.99),
    "left_small_toe": (0.14, 0.98),
    "left_heel": (0.08, 0.96),
    "right_big_toe": (-0.11, 0.99),
    "right_small_toe": (-0.14, 0.98),
    "right_heel": (-0.08, 0.96),
}


def standing_person(layout: Layout) -> NDArray[np.float32]:
    """Give K×2: a standing person 1 high, x from the middle, y from the top."""
    return np.array([_STANDING[name] for name in layout.keypoints], np.float32)


def random_people(
    layout: Layout,
    rng: np.random.Generator,
    count: int,
    size_map: tuple[int, int],
    heights_map: tuple[float, float] = (8.0, 24.0),
    apart_map: float = 2.0,
) -> NDArray[np.float32]:
    """Give count×K×2 people in cells (x, y) of maps of height×width `size_map`, each in a pose of their own.

    They may overlap and cross, but keypoints of the same part are at least `apart_map` cells apart as long as there
    is room; who finds none becomes smaller, in the end at any distance. What lies outside the maps is NaN, and so is
    what no chain of limbs joins to most of the person.
    """
    height, width = size_map
    placed = np.zeros((0, len(layout.keypoints), 2), np.float32)
    standing = standing_person(layout)
    for _ in range(count):
        for attempt in range(60):
            tall = rng.uniform(*heights_map) * 0.96**attempt
            pose = _posed(standing, rng) * np.float32(tall)
            corner = rng.uniform((-0.1 * tall, -0.2 * tall), (width + 0.1 * tall, max(height - 0.7 * tall, 1)))
            person = (pose + corner).astype(np.float32)
            person[((person < 0) | (person >= (width, height))).any(axis=1)] = np.nan
            person[~largest_connected(layout, np.isfinite(person[:, 0]))] = np.nan
            away = np.hypot(*np.moveaxis(placed - person, -1, 0))
            if np.isfinite(person[:, 0]).sum() >= 3 and not (away < apart_map).any():
                break
        placed = np.concatenate([placed, person[None]])
    return placed


def largest_connected(layout: Layout, is_there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which of the K parts that are there belong to the largest group that limbs join."""
    group = np.where(is_there, np.arange(len(is_there)), -1)
    for _ in layout.limbs:  # no chain is longer
        for start, end in layout.limbs:
            if is_there[start] and is_there[end]:
                group[[start, end]] = min(group[start], group[end])
    known = group[group >= 0]
    return np.asarray(group == np.bincount(known).argmax()) if len(known) else is_there


def _posed(standing: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Turn, lean, mirror and stretch a standing person, and move each joint a little."""
    pose = standing * (rng.choice((-1, 1)) * rng.uniform(0.7, 1.3), 1)
    angle = rng.normal(0, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(pose @ turn.T + rng.normal(0, 0.008, standing.shape), np.float32)


def planted_maps(
    layout: Layout,
    people_map: NDArray[np.float32],
    size_map: tuple[int, int],
    *,
    spread_map: float = 1.0,
    limb_width_map: float = 1.0,
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the (K + 1)×h×w heatmaps and 2L×h×w fields that a perfect network would give for N×K×2 people in cells.

    As networks are trained (Cao et al. 2019, section 3.1): the highest of the people's Gaussians of standard deviation
    `spread_map`, and the mean of their unit vectors on all cells less than `limb_width_map` from a limb. Normal noise
    of standard deviation `noise` is added; keypoints that are NaN are left out.
    """
    height, width = size_map
    x, y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5
    heatmaps = np.zeros((layout.heatmap_count, height, width), np.float32)
    for part in range(len(layout.keypoints)):
        known = people_map[np.isfinite(people_map[:, part, 0]), part]
        across = np.exp(-0.5 * ((x - known[:, :1]) / spread_map) ** 2)
        down = np.exp(-0.5 * ((y - known[:, 1:]) / spread_map) ** 2)
        heatmaps[part] = (down[:, :, None] * across[:, None, :]).max(axis=0, initial=0)
    heatmaps[-1] = 1 - heatmaps[:-1].max(axis=0)
    pafs = np.zeros((layout.paf_count, height, width), np.float32)
    for (start, end), channels in zip(layout.limbs, layout.paf_channels, strict=True):
        ends = people_map[:, [start, end]]
        pafs[list(channels)] = _field(ends[np.isfinite(ends).all(axis=(1, 2))], x, y, limb_width_map)
    if noise:
        rng = rng or np.random.default_rng(0)
        heatmaps += rng.normal(0, noise, heatmaps.shape).astype(np.float32)
        pafs += rng.normal(0, noise, pafs.shape).astype(np.float32)
    return heatmaps, pafs


def _field(
    ends: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32], limb_width_map: float
) -> NDArray[np.float32]:
    """Give one limb's 2×h×w field for N×2×2 starts and ends in cells."""
    total, count = np.zeros((2, len(y), len(x)), np.float32), np.zeros((len(y), len(x)), np.float32)
    for start, end in ends:
        length = max(float(np.hypot(*(end - start))), 1e-6)
        unit = (end - start) / length
        from_x, from_y = x[None, :] - start[0], y[:, None] - start[1]
        along = from_x * unit[0] + from_y * unit[1]
        # At both ends it reaches on as far as to the sides, so that a short limb covers a cell at all.
        is_on = (along >= -limb_width_map) & (along <= length + limb_width_map)
        is_on &= np.abs(from_x * unit[1] - from_y * unit[0]) <= limb_width_map
        total += is_on * unit[:, None, None]
        count += is_on
    return np.asarray(total / np.maximum(count, 1), np.float32)
