"""Items to messages with payloads and back: the one place that knows both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import zmq
from numpy.typing import NDArray

from posestream.pipeline.errors import DecodeError
from posestream.pipeline.wire.envelope import array
from posestream.pipeline.wire.messages import Fields, Posed, Task
from posestream.stages.ensemble import Maps
from posestream.stages.items import FieldMaps, FrameKey, NetInput, Person, Poses, Transform

__all__ = ["fields_of", "image_of", "is_whole", "maps_of", "people_payloads", "posed_of", "poses_of", "task_of"]

#: Sides of a network input are multiples of this in every network, and no longer than that, in pixels.
_MULTIPLE, _LONGEST = 8, 1 << 15
#: x, y and score.
_VALUES_PER_KEYPOINT = 3
#: What these may be, in pixels of a picture that may be larger than any; scores are 0 to 1, but for rounding.
_LEAST, _GREATEST = np.array([0, 0, -1e-3], np.float32), np.array([1 << 20, 1 << 20, 1 + 1e-3], np.float32)


def task_of(net_input: NetInput, captured_s: float) -> Task:
    """Describe a network input; its payload is the image."""
    height, width = net_input.image.shape[:2]
    transform = net_input.transform
    return Task(
        net_input.key.source,
        net_input.key.seq,
        captured_s,
        height,
        width,
        transform.scale_x,
        transform.scale_y,
        transform.width_px,
        transform.height_px,
        transform.left_px,
        transform.top_px,
    )


def image_of(task: Task, payload: zmq.Frame) -> NDArray[np.uint8]:
    """View a task's picture, uint8 height×width×3.

    Raises:
        DecodeError: its size is none that a network takes, or the payload has another one.
    """
    sides = (task.height, task.width)
    if min(sides) < _MULTIPLE or max(sides) > _LONGEST or any(side % _MULTIPLE for side in sides):
        raise DecodeError(f"a network input of {task.width}×{task.height}")
    image: NDArray[np.uint8] = array(payload, np.uint8, (task.height, task.width, 3))
    return image


def fields_of(task: Task, maps: Maps, infer_s: float) -> Fields:
    """Describe a network's output; its payloads are the heatmaps and the PAFs."""
    heatmaps, pafs = maps
    channels, rows, columns = heatmaps.shape
    return Fields(
        task,
        channels,
        pafs.shape[0],
        rows,
        columns,
        heatmaps.dtype.name,
        infer_s,
    )


def maps_of(fields: Fields, payloads: Sequence[zmq.Frame], stride: int) -> FieldMaps:
    """Put field maps together again."""
    if len(payloads) != 2 or fields.dtype not in {"float32", "float16"}:
        raise DecodeError(f"{len(payloads)} payloads of {fields.dtype[:20]} where field maps belong")
    task = fields.task
    return FieldMaps(
        FrameKey(task.source, task.seq),
        array(payloads[0], fields.dtype, (fields.heatmap_channels, fields.rows, fields.columns)),
        array(payloads[1], fields.dtype, (fields.paf_channels, fields.rows, fields.columns)),
        stride,
        _transform_of(task),
    )


def _transform_of(task: Task) -> Transform:
    return Transform(
        task.scale_x, task.scale_y, task.source_width, task.source_height, task.source_left, task.source_top
    )


def posed_of(poses: Poses, keypoints: int, infer_s: float, group_s: float) -> Posed:
    """Describe a frame's people, each with so many keypoints."""
    return Posed(poses.key.source, poses.key.seq, len(poses.people), keypoints, poses.truncated, infer_s, group_s)


def people_payloads(poses: Poses) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the payloads of `Posed`: keypoints and scores of everybody."""
    if not poses.people:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    keypoints = np.stack([person.keypoints for person in poses.people])
    return keypoints, np.array([person.score for person in poses.people], np.float32)


def is_whole(posed: Posed, payloads: Sequence[zmq.Frame], keypoints: int) -> bool:
    """Tell whether payloads are people with so many keypoints, each of them somewhere in a picture or not found."""
    values = (posed.people * keypoints * _VALUES_PER_KEYPOINT, posed.people)
    wanted = [count * np.dtype(np.float32).itemsize for count in values]
    if posed.keypoints != keypoints or [len(payload.buffer) for payload in payloads] != wanted:
        return False
    if not posed.people:
        return True
    points, scores = (np.frombuffer(payload.buffer, np.float32) for payload in payloads)
    points = points.reshape(-1, _VALUES_PER_KEYPOINT)
    missing = np.isnan(points)
    is_right = ((points >= _LEAST) & (points <= _GREATEST)) | missing
    # All three values of one that was not found are missing.
    is_same = missing == missing[:, :1]
    return bool(is_right.all() and is_same.all() and ((scores >= _LEAST[2]) & (scores <= _GREATEST[2])).all())


def poses_of(posed: Posed, payloads: Sequence[zmq.Frame]) -> Poses:
    """Put a frame's people together again."""
    if len(payloads) != 2:
        raise DecodeError(f"{len(payloads)} payloads where people belong")
    keypoints = array(payloads[0], np.float32, (posed.people, posed.keypoints, _VALUES_PER_KEYPOINT))
    scores = array(payloads[1], np.float32, (posed.people,)).tolist()
    people = tuple(Person(points, score) for points, score in zip(keypoints, scores, strict=True))
    return Poses(FrameKey(posed.source, posed.seq), people, posed.truncated)
