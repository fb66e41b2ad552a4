"""How grouping is set: how sure it must be, how much it may find, and what does it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np

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
    #: Keypoints a person has at least, 2 or more: limbs join people. With `single_person` 1 too.
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
        """Check types and ranges; numbers of other kinds, such as NumPy's, become Python's own.

        Raises:
            SettingsError: a value is none that the setting may have.
        """
        for name in ("peak_threshold", "limb_threshold", "limb_agreement", "least_score"):
            self._take(name, Real, float, "a number of 0…1", lambda value: 0 <= value <= 1)
        for name in ("least_parts", "most_people", "most_peaks_per_part"):
            self._take(name, Integral, int, f"a whole number of 1…{MOST}", lambda value: 1 <= value <= MOST)
        self._take("single_person", bool | np.bool_, bool, "true or false", (True, False).__contains__)
        known = get_args(Implementation)
        self._take("implementation", str, str, f"one of {', '.join(known)}", known.__contains__)
        if self.least_parts < 2 and not self.single_person:
            why = "people are joined by limbs, which have two ends, so that nobody has fewer than 2 keypoints"
            raise SettingsError(f"group.least_parts = {self.least_parts}: {why}, except with group.single_person")

    def _take(
        self, name: str, kind: Any, made: Callable[[Any], Any], wanted: str, is_possible: Callable[[Any], bool]
    ) -> None:
        value = getattr(self, name)
        # True and False count as numbers in Python, and here are none.
        is_mistaken = isinstance(value, bool) and made is not bool
        if is_mistaken or not isinstance(value, kind) or not is_possible(value):
            raise SettingsError(f"group.{name} = {value!r} is not {wanted}")
        object.__setattr__(self, name, made(value))

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
