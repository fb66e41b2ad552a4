"""What a run came to: why it cannot go on, how each lane ended, and the exit code that follows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from posestream.models.errors import EngineError, ModelError
from posestream.pipeline.errors import ExitCode, ReplicaError, exit_code_of
from posestream.pipeline.supervision.handles import LaneHandle, ReplicaHandle
from posestream.pipeline.supervision.slot import Slot
from posestream.stages.errors import OutputError

__all__ = ["exit_code", "fate", "is_cut", "no_replica_left"]


def no_replica_left(replicas: Sequence[Slot[ReplicaHandle]]) -> BaseException | None:
    """Give the reason to stop where every replica of our own has failed for good; None where there are none."""
    if not replicas or not all(slot.is_exhausted for slot in replicas):
        return None
    refusals = [slot.error for slot in replicas if isinstance(slot.error, EngineError | ModelError)]
    return refusals[0] if refusals else ReplicaError(f"replicas kept failing; the last time {replicas[0].error}")


def fate(slot: Slot[LaneHandle], hung: Collection[str]) -> ReplicaError | None:
    """Give what ended a lane for good before its work was done; None where nothing did. `hung` did not end at all."""
    if slot.name in hung:
        return ReplicaError(f"the lane of {slot.name} hung; what its outputs lack is lost but for --resume")
    if slot.is_exhausted:
        return ReplicaError(f"{slot.error}, as it kept doing; it is not started again, and --resume goes on")
    return ReplicaError(str(slot.part.death)) if slot.part.has_died else None


def is_cut(slot: Slot[LaneHandle], hung: Collection[str]) -> bool:
    """Tell whether a lane died and none went on, so that the last frames which count as done may not be written."""
    if slot.name in hung or slot.is_exhausted:
        return True
    lane = slot.part
    has_failed_anew = slot.restarts > 0 and lane.source_error is not None and not lane.progress.ended
    return lane.has_died or (has_failed_anew and not lane.is_alive)


def exit_code(
    error: BaseException | None,
    lanes: Sequence[Slot[LaneHandle]],
    hung: Collection[str],
    publishing_errors: Sequence[OutputError] = (),
    guests: Collection[str] = (),
    past: Collection[ExitCode] = (),
) -> ExitCode:
    """Weigh what went wrong: the run as a whole, then lanes that kept failing, then outputs, then sources.

    Sources that came while it went on (`guests`) decide nothing by being missing or damaged: it goes on without them.
    `past` are the codes of those that are not among the lanes any more.
    """
    if error is not None:
        return exit_code_of(error)
    if ExitCode.REPLICAS in past or any(fate(slot, hung) for slot in lanes):
        return ExitCode.REPLICAS
    if ExitCode.OUTPUT in past or publishing_errors or any(slot.part.output_errors for slot in lanes):
        return ExitCode.OUTPUT
    errors = {slot.name: slot.part.source_error for slot in lanes if slot.name not in guests}
    return min((exit_code_of(error) for error in errors.values() if error), default=ExitCode.DONE)
