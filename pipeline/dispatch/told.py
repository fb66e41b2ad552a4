"""What lanes and replicas told of themselves: the lanes' reports, the replicas' descriptions and farewells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import zmq

from posestream.pipeline.attention import Attention
from posestream.pipeline.wire.messages import LaneReport

__all__ = ["Report", "Told"]

#: Replicas whose words are remembered after they have gone.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """What a lane's process told last, and when, on the clock of those who listen."""

    message: LaneReport
    payloads: Sequence[zmq.Frame]
    heard_s: float


class Told:
    """Remembers the last words of each; those of replicas for long after they have gone, but not for ever."""

    def __init__(self) -> None:
        #: The clock of what was heard when.
        self.attention = Attention()
        #: By source.
        self.reports: dict[str, Report] = {}
        #: By replica: its engine in a few words.
        self.descriptions: dict[str, str] = {}
        #: By replica: what it said when it left.
        self.farewells: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Told reports={len(self.reports)} descriptions={len(self.descriptions)}>"

    def describe(self, replica: str, text: str, present: Collection[str]) -> None:
        """Note what a replica's engine is; `present` are the replicas that are there."""
        _remember(self.descriptions, replica, text, present)

    def say_goodbye(self, replica: str, text: str, present: Collection[str]) -> None:
        """Note what a replica said when it left."""
        _remember(self.farewells, replica, text, present)


def _remember(told: dict[str, str], replica: str, text: str, present: Collection[str]) -> None:
    """Note what a replica told, and forget the oldest of those that have gone: workers come and go for months."""
    told[replica] = text
    if len(told) > _REMEMBERED:
        del told[next(name for name in told if name == replica or name not in present)]
