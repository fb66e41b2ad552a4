"""The message, version 1: what is told of one ended frame, as plain objects and as a JSON line."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.stages.items import Drop, Frame, Person, Poses

__all__ = ["VERSION", "Message", "MessageWriter", "json_line", "tells_of"]

#: Raised when the meaning of a key changes; new keys do not raise it.
VERSION = 1

#: Plain objects only (dict, list, str, int, float, bool, None), fit for JSON and msgpack alike.
Message = dict[str, Any]

#: x and y are told to 0.01 px, a keypoint's score to 4 decimals.
_STEPS = np.array([100.0, 100.0, 10_000.0])
#: Times are told to the microsecond, which is finer than any time base in use needs.
_TIME_DECIMALS = 6

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False, check_circular=False)


def json_line(message: Message) -> bytes:
    """Encode a message as one line of compact JSON in UTF-8, the line feed included.

    Raises:
        ValueError: the message holds a number that JSON does not have (NaN or an infinity).
    """
    return (_ENCODER.encode(message) + "\n").encode()


def tells_of(message: Message, frame: Frame) -> bool:
    """True if a message is told of this frame: its number, its time or name are the same."""
    told = (message.get("seq"), message.get("pts"), message.get("name"))
    return told == (frame.key.seq, _pts(frame), None if frame.name is None else _utf8(frame.name))


class MessageWriter:
    """Makes the messages of one source in one run and numbers them without gaps, from 0 or where a run goes on."""

    def __init__(self, run: str, source: str, model: str, layout: str, first_n: int = 0) -> None:
        self._run = run
        self._source = source
        self._model = model
        self._layout = layout
        self._next_n = first_n

    def __repr__(self) -> str:
        return f"<MessageWriter {self._source} of run {self._run}, next n {self._next_n}>"

    def poses(self, frame: Frame, poses: Poses, published_at: float) -> Message:
        """Tell of a frame that ended as poses; `published_at` is in seconds since 1970."""
        message = self._head("poses", frame)
        message["published_at"] = round(published_at, _TIME_DECIMALS)
        message["width"] = frame.width
        message["height"] = frame.height
        message["model"] = self._model
        message["layout"] = self._layout
        message["truncated"] = poses.truncated
        message["people"] = _people(poses.people)
        return message

    def drop(self, frame: Frame, drop: Drop, published_at: float) -> Message:  # noqa: ARG002  # one shape for both
        """Tell of a frame that ended without poses. Version 1 does not tell when a drop was published."""
        message = self._head("drop", frame)
        message["stage"] = str(drop.stage)
        message["reason"] = str(drop.reason)
        return message

    def _head(self, kind: str, frame: Frame) -> Message:
        """Begin a message with what both kinds have, and count it."""
        message: Message = {
            "v": VERSION,
            "type": kind,
            "run": self._run,
            "source": self._source,
            "n": self._next_n,
            "epoch": frame.epoch,
            "seq": frame.key.seq,
            "pts": _pts(frame),
        }
        if frame.name is not None:
            message["name"] = _utf8(frame.name)
        message["captured_at"] = round(frame.captured_wall_s, _TIME_DECIMALS)
        self._next_n += 1
        return message


def _pts(frame: Frame) -> float | None:
    """Give a frame's time as it is told."""
    return None if frame.pts_s is None else round(frame.pts_s, _TIME_DECIMALS)


def _people(people: tuple[Person, ...]) -> list[Message]:
    """Turn people into plain objects, all keypoints in one vectorised pass.

    The arrays are so small that the number of calls and of NumPy's inner loops counts, not the size: a row holds all
    numbers of a person, results go where their operands were, and what only missing keypoints need is left out where
    there are none.
    """
    if not people:
        return []
    keypoints = np.array([person.keypoints for person in people], np.float64)
    steps, scale = keypoints.reshape(len(people), -1), _scale(keypoints.shape[1])
    is_finite = np.isfinite(steps)
    has_missing = not is_finite.all()
    np.multiply(steps, scale, out=steps)
    np.rint(steps, out=steps)
    scores = steps[:, 2::3]
    np.maximum(scores, 0.0, out=scores)
    np.minimum(scores, _STEPS[2], out=scores)
    if has_missing:
        is_found = is_finite[:, 0::3] & is_finite[:, 1::3]
        is_found &= is_finite[:, 2::3]
        is_missing = ~is_found
        np.copyto(keypoints, np.nan, where=is_missing[:, :, None])
    boxes = _boxes(steps)
    np.divide(steps, scale, out=steps)
    # + 0.0 makes a negative zero positive: "-0.0" is valid JSON, but nobody expects it.
    np.add(steps, 0.0, out=steps)
    rows = keypoints.tolist()
    if has_missing:
        for person, keypoint in zip(*(axis.tolist() for axis in is_missing.nonzero()), strict=True):
            rows[person][keypoint] = None
    return [
        {"id": None, "score": _score(person.score), "bbox": box, "keypoints": row}
        for person, box, row in zip(people, boxes, rows, strict=True)
    ]


@functools.cache
def _scale(keypoints: int) -> NDArray[np.float64]:
    """Give the steps of all numbers of a person with so many keypoints."""
    return np.tile(_STEPS, keypoints)


def _boxes(steps: NDArray[np.float64]) -> list[list[float] | None]:
    """Give each person's tight box as x, y, width, height in pixels; None where no keypoint was found.

    It is taken from the rounded keypoints (NaN where missing), so that it holds just what is told.
    """
    boxes = np.empty((4, len(steps)))
    x, y = steps[:, 0::3], steps[:, 1::3]
    # fmin and fmax pass over NaN, which np.min and np.max would give.
    np.fmin.reduce(x, axis=1, out=boxes[0])
    np.fmin.reduce(y, axis=1, out=boxes[1])
    np.fmax.reduce(x, axis=1, out=boxes[2])
    np.fmax.reduce(y, axis=1, out=boxes[3])
    np.subtract(boxes[2:], boxes[:2], out=boxes[2:])
    np.divide(boxes, _STEPS[0], out=boxes)
    np.add(boxes, 0.0, out=boxes)
    rows = boxes.T.tolist()
    return [None if math.isnan(row[0]) else row for row in rows]


def _score(score: float) -> float:
    """Round a person's score to 4 decimals within 0…1; one that is not a number counts as 0."""
    # Written so that NaN, for which every comparison is false, becomes 0.
    return round(min(float(score), 1.0), 4) if score > 0.0 else 0.0


def _utf8(name: str) -> str:
    """Make a file name that is not valid UTF-8 on disk fit for JSON and msgpack."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
