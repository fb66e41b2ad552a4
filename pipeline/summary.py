"""What became of a run, source by source, when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from posestream.pipeline.dispatch.counters import FrameCounts
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.lane.state import LaneProgress
from posestream.pipeline.supervision.handles import LinkReport
from posestream.stages.errors import OutputError

__all__ = ["SourceReport", "Summary"]


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What became of one source."""

    name: str
    counts: FrameCounts
    progress: LaneProgress
    paths: tuple[Path, ...]
    error: BaseException | None
    #: How often its lane was started again.
    restarts: int
    #: How the connection of a live source was at the end; None for other sources.
    link: LinkReport | None = None
    #: True if its lane died and none went on: the last frames that are counted may not be written.
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a whole run."""

    sources: tuple[SourceReport, ...]
    engine: str
    exit_code: ExitCode
    #: What stopped the run as a whole, if anything did.
    error: BaseException | None
    output_errors: tuple[OutputError, ...]
    #: How often replicas were started again, and frames handed out again.
    replica_restarts: int
    redelivered: int
    #: How many sources more came and went, and what became of their frames altogether.
    past_sources: int = 0
    past_counts: FrameCounts = field(default_factory=FrameCounts)
