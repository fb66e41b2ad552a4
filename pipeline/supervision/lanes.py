"""The lanes of a run: those of its beginning, and those that come and go while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.supervision.handles import LaneHandle
from posestream.pipeline.supervision.heap import give_back
from posestream.pipeline.supervision.past import Past
from posestream.pipeline.supervision.restarts import Restarts
from posestream.pipeline.supervision.slot import Slot
from posestream.pipeline.supervision.verdict import exit_code
from posestream.stages.source.opening import SourceSettings

__all__ = ["LaneMaker", "Lanes"]

_log = logging.getLogger(__name__)

#: So many sources that came while the run went on and have gone are kept with all that is known of them.
_REMEMBERED = 100
#: After so many more that are not, memory is cleared of them: it takes some 0.1 s, and 0.13 MB each are left till then.
_TRIM_EVERY = 10

#: Makes the lane of a source with its outputs, given how many there were before in its place.
LaneMaker = Callable[[SourceSettings, LaneOutputs, int], LaneHandle]


class Lanes:
    """The places of all lanes, in the order of their sources. All calls come from the supervisor's thread.

    Args:
        make: makes a lane.
        forget: told the name of each source of which nothing is to be kept any more.
        is_open_ended: True where more may come, so that the run goes on without any.
    """

    def __init__(
        self, make: LaneMaker, forget: Callable[[str], None] = lambda _: None, *, is_open_ended: bool = False
    ) -> None:
        self._make = make
        self._forget = forget
        self.is_open_ended = is_open_ended
        self._slots: list[Slot[LaneHandle]] = []
        self._sources: list[tuple[SourceSettings, LaneOutputs]] = []
        self._paused: set[str] = set()
        self._ended: set[str] = set()
        #: Sources that came while the run went on.
        self.guests: set[str] = set()
        #: What is left of those that are not listed any more.
        self.past = Past()
        self._has_started = False

    def __repr__(self) -> str:
        return f"<Lanes {self._slots} paused={sorted(self._paused)}>"

    def __iter__(self) -> Iterator[Slot[LaneHandle]]:
        return iter(self._slots)

    @property
    def parts(self) -> list[LaneHandle]:
        """Every lane, those of the last sources that were removed included."""
        return [slot.part for slot in self._slots]

    @property
    def sources(self) -> Sequence[SourceSettings]:
        """Every source that there is or was, but for those that are `past`."""
        return [source for source, _ in self._sources]

    @property
    def outputs(self) -> Sequence[LaneOutputs]:
        """Their outputs."""
        return [outputs for _, outputs in self._sources]

    def __getitem__(self, source: str) -> Slot[LaneHandle]:
        """Give a source's place.

        Raises:
            KeyError: there is no source of that name.
        """
        for slot in self._slots:
            if slot.name == source:
                return slot
        raise KeyError(source)

    def add(self, source: SourceSettings, outputs: LaneOutputs) -> LaneHandle:
        """Make the place of one more source, and start its lane if the others were started.

        Raises:
            OutputError: an output cannot be gone on with.
        """

        def make(generation: int) -> LaneHandle:
            return self._make(source, outputs, generation)

        slot = Slot(source.name, make, Restarts())
        self._slots.append(slot)
        self._sources.append((source, outputs))
        if self._has_started:
            self.guests.add(source.name)
            slot.part.start()
        return slot.part

    def start(self) -> None:
        """Start every lane."""
        self._has_started = True
        for lane in self.parts:
            lane.start()

    def remove(self, source: str) -> None:
        """Take no more frames from a source; what is in flight goes on to its end, and nobody follows its lane."""
        slot = self[source]
        slot.retire()
        slot.part.stop()

    def pause(self, source: str) -> None:
        """Take no frames from a source until `resume`."""
        self._paused.add(source)
        self[source].part.pause()

    def resume(self, source: str) -> None:
        """Take frames from a source again."""
        self._paused.discard(source)
        self[source].part.resume()

    def is_paused(self, source: str) -> bool:
        """True from `pause` to `resume`."""
        return source in self._paused

    def are_at_work(self, *, is_stopping: bool) -> bool:
        """True while a lane has work to do; unless the run stops, also while one that died is to be followed.

        One that has died since the last `watch` is to be followed, too: the run would end without its successor.
        """
        return any(slot.part.is_alive or (not is_stopping and _is_followed(slot)) for slot in self._slots)

    def watch(self, now_s: float) -> list[str]:
        """Start those again that died, end those that hang; give the sources that have ended since the last look."""
        for slot in self._slots:
            self._watch(slot, now_s)
        ended = [slot.name for slot in self._slots if slot.name not in self._ended and _has_ended(slot)]
        self._ended.update(ended)
        for name in ended:
            self[name].part.join(now_s)  # lets go of its pipe
        for name in self.guests.intersection(ended):
            # The run goes on without it, maybe for months, and its exit code is no matter of a guest's.
            if (error := self[name].part.source_error) is not None:
                _log.error("%s has failed, and the run goes on: %s", name, error)
        return ended

    def tidy(self, counts: Callable[[str], FrameCounts]) -> None:
        """Forget the guests that went first where too many have gone: sources come and go for months."""
        if self._forget_old(counts) and len(self.past) % _TRIM_EVERY == 0:
            give_back()

    def _forget_old(self, counts: Callable[[str], FrameCounts]) -> int:
        gone = [slot for slot in self._slots if slot.name in self._ended and slot.name in self.guests]
        # One that hangs still has sockets, which the end of the run must know of.
        old = [slot for slot in gone[: max(0, len(gone) - _REMEMBERED)] if not slot.part.has_left_source]
        for slot in old:
            self.past.add(slot.name, counts(slot.name), exit_code(None, [slot], (), (), self.guests))
            self._drop(slot)
        return len(old)

    def _drop(self, slot: Slot[LaneHandle]) -> None:
        at = self._slots.index(slot)
        del self._slots[at], self._sources[at]
        for names in (self._paused, self._ended, self.guests):
            names.discard(slot.name)
        self._forget(slot.name)

    def end_silent(self) -> list[str]:
        """End the lanes that hang, and give their sources: what a run that stops still does of `watch`."""
        silent = [lane for lane in self.parts if lane.is_silent]
        for lane in silent:
            _end_silent(lane)
        return [lane.name for lane in silent]

    def _watch(self, slot: Slot[LaneHandle], now_s: float) -> None:
        lane = slot.part
        if slot.is_waiting or slot.is_exhausted:
            if slot.go_on(now_s) and slot.name in self._paused:
                slot.part.pause()
        elif lane.is_silent:
            _end_silent(lane)
        elif lane.has_died and not slot.is_retired:
            lane.join(now_s)  # lets go of its pipe
            slot.fail(now_s, lane.death)


def _end_silent(lane: LaneHandle) -> None:
    _log.warning("the lane of %s hangs; it is killed", lane.name)
    lane.kill()


def _is_followed(slot: Slot[LaneHandle]) -> bool:
    """True where another lane is to take the place of one that died."""
    return slot.is_waiting or (slot.part.has_died and not slot.is_retired and not slot.is_exhausted)


def _has_ended(slot: Slot[LaneHandle]) -> bool:
    """True once a lane has ended and nobody follows."""
    return not slot.part.is_alive and (slot.is_retired or slot.is_exhausted or not slot.part.has_died)
