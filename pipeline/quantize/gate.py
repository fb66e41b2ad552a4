"""The gate that an int8 network must pass: what it must find, how well, and how much faster it must be."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from posestream.pipeline.quantize.agreement import Agreement
from posestream.pipeline.quantize.speed import Speeds

__all__ = ["Limits"]

#: How far different frames of one scene may differ by chance.
_MARGIN = 0.03


@dataclass(frozen=True, slots=True)
class Limits:
    """What an int8 network must come to on held-back frames.

    By default about what costs 0.01 of average precision; bf16 itself comes to 0.89, 0.94 and 1.6 where it is worst
    (docs/quantize.md has the figures).
    """

    #: Least part of the float network's keypoints that it finds too, 0…1.
    least_recall: float = 0.85
    #: Least part of its own keypoints that the float network finds too, 0…1.
    least_precision: float = 0.75
    #: Largest root mean square of the distance between keypoints that both find, in network input pixels.
    most_rms_net: float = 2.5
    #: Least number of times that it must be as fast as the float network in each precision that the device has.
    least_speedup: float = 1.05

    def tightened(self) -> Limits:
        """Give limits whose passing, on some frames, makes it likely that these are passed on others."""
        return dataclasses.replace(
            self,
            least_recall=min(self.least_recall + _MARGIN, 1.0),
            least_precision=min(self.least_precision + _MARGIN, 1.0),
            most_rms_net=self.most_rms_net * (1 - _MARGIN),
        )

    def sees(self, seen: Agreement) -> list[str]:
        """Give what is wrong with what it finds, one line each; none where it passes."""
        faults = []
        if seen.recall < self.least_recall:
            faults.append(
                f"it finds {seen.recall:.1%} of the float network's keypoints, less than {self.least_recall:.1%}"
            )
        if seen.precision < self.least_precision:
            faults.append(
                f"the float network finds {seen.precision:.1%} of its keypoints, less than {self.least_precision:.1%}"
            )
        if seen.rms_net > self.most_rms_net:
            faults.append(
                f"its keypoints are {seen.rms_net:.2f} network input pixels off, more than {self.most_rms_net:g}"
            )
        return faults

    def gains(self, speeds: Speeds) -> list[str]:
        """Give the precisions over which it gains too little, one line each; none where it passes."""
        return [
            f"it is {ratio:.2f} times as fast as {precision}, less than {self.least_speedup:g}"
            for precision, ratio in speeds.speedups.items()
            if ratio < self.least_speedup
        ]
