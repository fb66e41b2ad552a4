"""How grouping is set: how sure it must be, how much it may find, and what does it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from posestream.models.layout import Layout
from posestream.stages.errors import SettingsError

__all__ = ["SAMPLES", "GroupSettings", "Implementation"]

#: "auto" takes the compiled one where it is there.
Implementation = Literal["auto", "compiled", "numpy"]

#: Points along a limb at which its field is taken, evenly spaced and without the ends, where the fields of
#: neighbouring limbs meet and partly cancel.
SAMPLES = 8
#: Upper bound of the bounds: time and memory grow with the square of the candidates per part.
MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How sure grouping must be, and how much it may find."""

    #: Least height of a heatmap's maximum that may be a keypoint, 0…1.
    peak_threshold: float = 0.03
    #: Least part of the field along a limb for a sample to agree with it, 0…1.
    limb_threshold: float = 0.02
    #: Fraction of a limb's samples that must agree, 0…1.
    limb_agreement: float = 0.6
    #: Keypoints a person has at least.
    least_parts: int = 2
    #: Score a person has at least, 0…1.
    least_score: float = 0.01
    #: People in a picture at most; the best are kept.
    most_people: int = 128
    #: Candidates for one keypoint in a picture at most; the highest are kept.
    most_peaks_per_part: int = 128
    #: True: take each heatmap's highest point, for at most one person; fields are not asked.
    single_person: bool = False
    #: What does it; both give the same people, bit for bit.
    implementation: Implementation = "auto"

    def __post_init__(self) -> None:
        for name in ("peak_threshold", "limb_threshold", "limb_agreement", "least_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"group.{name} = {getattr(self, name)} is outside 0…1")
        for name in ("least_parts", "most_people", "most_peaks_per_part"):
            if not 1 <= getattr(self, name) <= MOST:
                raise SettingsError(f"group.{name} = {getattr(self, name)} is outside 1…{MOST}")

    def check_fits(self, layout: Layout) -> None:
        """Make sure that somebody of this layout can be found.

        Raises:
            SettingsError: nobody has so many keypoints.
        """
        if self.least_parts > len(layout.keypoints):
            have = f"people of {layout.name} have {len(layout.keypoints)} keypoints"
            raise SettingsError(f"group.least_parts = {self.least_parts}: {have}")

    @property
    def least_agreeing(self) -> int:
        """How many of a limb's SAMPLES must agree."""
        return math.ceil(self.limb_agreement * SAMPLES - 1e-9)
