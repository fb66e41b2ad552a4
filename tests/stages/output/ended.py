"""Ended frames with people, and without, for tests of outputs that need no picture."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from posestream.models.layout import LAYOUTS
from posestream.stages.color import ColorTags
from posestream.stages.items import Drop, Frame, FrameKey, Person, Poses, Reason, Stage
from posestream.stages.message import MessageWriter
from posestream.stages.output.sink import Ended
from posestream.stages.source.protocol import SourceInfo

LAYOUT = LAYOUTS["openpose-18"]


def info(*, is_live: bool = False) -> SourceInfo:
    """Give what the outputs look at of a source."""
    return SourceInfo("door", 64, 48, Fraction(10), None, None, is_live, Fraction(1, 10), None, None, ColorTags(6, 1))


def ended_frames(count: int, people: int = 2, first: int = 0, name: str | None = None) -> list[Ended]:
    """Give frames at 10 a second; each third one has nobody, each fifth was dropped."""
    writer = MessageWriter("run1", "door", "net", LAYOUT.name, first_n=first)
    made = []
    for seq in range(first, first + count):
        key = FrameKey("door", seq)
        frame = Frame(key, 0, seq, Fraction(1, 10), 0.0, 1000.0 + seq, 64, 48, None, name)
        if seq % 5 == 4:
            drop = Drop(key, Stage.DECODE, Reason.UNDECODABLE)
            made.append(Ended(frame, drop, writer.drop(frame, drop, 0.0)))
        else:
            found = tuple(_person(seq, number) for number in range(0 if seq % 3 == 2 else people))
            poses = Poses(key, found)
            made.append(Ended(frame, poses, writer.poses(frame, poses, 2000.0)))
    return made


def _person(seq: int, number: int) -> Person:
    keypoints = np.full((len(LAYOUT.keypoints), 3), np.nan, np.float32)
    keypoints[:10] = [[10.5 + number + k, 20.5 + seq % 7, 0.5] for k in range(10)]
    return Person(keypoints, 0.75)
