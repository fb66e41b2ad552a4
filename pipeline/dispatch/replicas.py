"""The replicas that the dispatcher knows: when each was heard, what it takes, and what it holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from posestream.pipeline.dispatch.in_flight import FrameInFlight, Phase, ReplicaRecord, ReplicaView
from posestream.stages.items import FrameKey

__all__ = ["Replicas"]

#: Frames that one replica may hold at once, whatever it asks for.
_MOST_CREDITS = 256


class Replicas:
    """Replicas by name, in the order in which they came."""

    def __init__(self) -> None:
        self._records: dict[str, ReplicaRecord] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def __repr__(self) -> str:
        return f"<Replicas {len(self._records)} held={sum(len(record.held) for record in self._records.values())}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are there."""
        return tuple(self._records)

    @property
    def views(self) -> list[ReplicaView]:
        """How each of them is."""
        return [
            ReplicaView(name, record.state, record.credits, len(record.held)) for name, record in self._records.items()
        ]

    @property
    def credits(self) -> int:
        """Frames that all of them together will hold at once."""
        return sum(record.credits for record in self._records.values())

    @property
    def by_room(self) -> Sequence[tuple[str, ReplicaRecord]]:
        """All of them, those with the most room first, and among equals those that came first."""
        return sorted(self._records.items(), key=lambda item: -item[1].free)

    def hear(self, name: str, now_s: float, *, is_loading: bool, credit: int, batch: int, fresh: int) -> None:
        """Note what a replica says of itself; it may be new."""
        record = self._records.setdefault(name, ReplicaRecord(now_s))
        record.heard_s = now_s
        # What comes from other hosts bounds nothing here.
        record.credits = min(credit, _MOST_CREDITS)
        record.batch = max(1, min(batch, _MOST_CREDITS))
        record.fresh_credits = fresh or record.credits
        record.is_loading = is_loading or credit == 0

    def held_s(self, name: str, key: FrameKey, now_s: float) -> float | None:
        """Give since when a replica has a frame on which it has not reported, in seconds; None if it has it not."""
        frame = self._records[name].held.get(key) if name in self._records else None
        return None if frame is None else now_s - frame.given_s

    def give(self, name: str, frames: Collection[FrameInFlight], now_s: float) -> None:
        """Note that a replica is given frames."""
        for frame in frames:
            frame.phase = Phase.HELD
            frame.given_s = now_s
            self._records[name].held[frame.key] = frame

    def give_back(self, name: str, key: FrameKey, now_s: float) -> FrameInFlight | None:
        """Free the credit of a frame that a replica reports on; None if nobody waits for that report."""
        record = self._records.get(name)
        if record is None:
            return None
        record.heard_s = now_s
        frame = record.held.pop(key, None)
        return frame if frame is not None and frame.is_in_flight else None

    def remove(self, name: str) -> list[FrameInFlight]:
        """Forget a replica; give the frames that it held and that were neither abandoned nor forgotten."""
        return [frame for frame in self._records.pop(name).held.values() if frame.is_in_flight]

    def missing(self, name: str, held: Collection[FrameKey], given_before_s: float) -> list[FrameInFlight]:
        """Take back the frames that a replica was given before that time and that are not among what it has."""
        mine = self._records[name].held
        keys = [key for key, frame in mine.items() if key not in held and frame.given_s < given_before_s]
        return [frame for frame in [mine.pop(key) for key in keys] if frame.is_in_flight]

    def silent(self, now_s: float, patience_s: float, loading_patience_s: float) -> list[str]:
        """Name those that were not heard for too long."""
        return [
            name
            for name, record in self._records.items()
            if now_s - record.heard_s > (loading_patience_s if record.is_loading else patience_s)
        ]
