"""Adds, removes, pauses and resumes the sources of a run, by the rules of its beginning."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from posestream.pipeline.errors import ExitCode, exit_code_of, is_expected
from posestream.pipeline.job import Job, plan_source
from posestream.pipeline.made_with import note_made_with
from posestream.pipeline.settings import Settings
from posestream.pipeline.status import state_of
from posestream.pipeline.supervision.handles import LaneHandle
from posestream.pipeline.supervision.supervisor import Supervisor
from posestream.pipeline.wire.control import (
    AddSource,
    Agreed,
    Listing,
    ListSources,
    PauseSource,
    Refused,
    RemoveSource,
    ResumeSource,
    SourceEntry,
)
from posestream.stages.errors import SettingsError
from posestream.stages.redact import redacted, redacted_text
from posestream.stages.source.opening import SourceSettings

__all__ = ["Answer", "Question", "Roster"]

Question = AddSource | RemoveSource | PauseSource | ResumeSource | ListSources
Answer = Agreed | Refused | Listing

_log = logging.getLogger(__name__)

#: Sources in one answer, which has room for 64 KB.
_PAGE = 30
#: Letters of an address or reason that are told at most.
_MOST_LETTERS = 200
#: Letters of a refusal at most, which may repeat what was asked.
_MOST_TOLD = 400


class Roster:
    """Answers what a run is asked about its sources. All calls come from the supervisor's thread.

    Args:
        job: what the run does.
        supervisor: of the run, which has started.
        on_added: told each new lane.
    """

    def __init__(self, job: Job, supervisor: Supervisor, on_added: Callable[[LaneHandle], None]) -> None:
        self._job = job
        self._supervisor = supervisor
        self._on_added = on_added

    def answer(self, question: Question) -> Answer:
        """Do what is asked, or say why not; whatever goes wrong with one question is no matter of the run's."""
        try:
            return self._do(question)
        except Exception as error:  # noqa: BLE001 - logged with its traceback, and no matter of the other sources
            if is_expected(error):
                return Refused(int(exit_code_of(error)), _sendable(_shortened(str(error))))
            _log.exception("what was asked of the run failed: %s", type(question).__name__)
            told = _sendable(redacted_text(f"{type(error).__name__}: {error}"))[:_MOST_LETTERS]
            return Refused(int(ExitCode.BUG), f"internal error, which the run's log tells of: {told}")

    def _do(self, question: Question) -> Answer:
        match question:
            case AddSource(table):
                return self._add(table)
            case RemoveSource(source):
                return self._remove(source)
            case PauseSource(source):
                return self._pause(source)
            case ResumeSource(source):
                return self._resume(source)
            case ListSources(first):
                return self._list(first)

    def _add(self, table: str) -> Agreed:
        places = self._supervisor.places
        if not self._supervisor.is_taking:
            raise SettingsError("this run is stopping; nothing can be added any more")
        wanted = _parsed(table)
        source, outputs = plan_source(self._job, wanted, places.sources, places.outputs, places.past)
        note_made_with(outputs, self._job.made_with(source))
        lane = places.add(source, outputs)
        self._on_added(lane)
        return Agreed(f"{source.name} is added: {_sendable(_shortened(redacted(source.url)))}")

    def _remove(self, name: str) -> Agreed:
        self._present(name)
        self._supervisor.places.remove(name)
        return Agreed(f"{name} is removed: what is in flight is finished first")

    def _pause(self, name: str) -> Agreed:
        self._present(name)
        if self._supervisor.places.is_paused(name):
            return Agreed(f"{name} is paused already")
        self._supervisor.places.pause(name)
        return Agreed(f"{name} is paused")

    def _resume(self, name: str) -> Agreed:
        self._present(name)
        if not self._supervisor.places.is_paused(name):
            return Agreed(f"{name} is not paused")
        self._supervisor.places.resume(name)
        return Agreed(f"{name} goes on")

    def _list(self, first: int) -> Listing:
        sources = self._supervisor.places.sources[first:]
        page = tuple(self._entry(source) for source in sources[:_PAGE])
        return Listing(page, len(sources) - len(page))

    def _present(self, name: str) -> None:
        """Refuse a name that no source has now.

        Raises:
            SettingsError: there is none, or it has ended or been removed.
        """
        places = self._supervisor.places
        slots = {slot.name: slot for slot in places}
        if name not in slots:
            raise SettingsError(f"there is no source {name!r}; there are: {', '.join(slots) or 'none'}")
        state = state_of(self._supervisor, slots[name].part)
        if slots[name].is_retired or not (slots[name].part.is_alive or slots[name].is_waiting):
            raise SettingsError(f"{name} has gone already ({state})")

    def _entry(self, source: SourceSettings) -> SourceEntry:
        lane = self._supervisor.places[source.name].part
        why = lane.link.state.why if lane.link is not None else str(lane.source_error or "")
        counts = self._supervisor.counts(source.name)
        return SourceEntry(
            source.name,
            _sendable(redacted(source.url))[:_MOST_LETTERS],
            state_of(self._supervisor, lane),
            _sendable(why)[:_MOST_LETTERS],
            counts.taken,
            counts.posed,
            counts.dropped.total(),
            counts.in_flight,
        )


def _sendable(text: str) -> str:
    """Give a text as UTF-8 can carry it: names of files may have bytes that are no letters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _shortened(text: str) -> str:
    """Leave out the middle of what is too long for an answer: what it is about stands first, and why last."""
    half = _MOST_TOLD // 2
    return text if len(text) <= _MOST_TOLD else f"{text[:half]}…{text[-half:]}"


def _parsed(table: str) -> SourceSettings:
    """Read a `[[source]]` table with the checks of a settings file.

    Raises:
        SettingsError: something in it is wrong.
    """
    try:
        raw: Any = json.loads(table)
    except (ValueError, RecursionError) as error:
        raise SettingsError("control: the source's table is not JSON") from error
    try:
        return Settings.parse({"source": [raw]}, "control").source[0]
    except SettingsError as error:
        # There is but one.
        raise SettingsError(str(error).replace("source.0.", "source.")) from error
