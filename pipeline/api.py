"""The pipeline from Python: `for poses in run("clip.mp4"): …`."""

from __future__ import annotations

import atexit
import functools
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from posestream.models.weights import WeightStore
from posestream.pipeline.job import Job, plan_job
from posestream.pipeline.lane.windows import NoDisplay, open_display
from posestream.pipeline.result import PosesResult
from posestream.pipeline.settings import Settings, table_keys
from posestream.pipeline.summary import Summary
from posestream.pipeline.supervision.crew import start_job
from posestream.pipeline.toml_tables import Raw, load_toml, merged
from posestream.stages.errors import SettingsError
from posestream.stages.items import Poses
from posestream.stages.output.display import Display
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended
from posestream.stages.source.opening import SourceInfo

__all__ = ["run"]

#: Results that wait for the caller; when they are so many, the sources wait.
_WAITING = 4
#: How often a wait looks whether the run has ended, in seconds.
_POLL_S = 0.1
#: The same while windows are open, so that they feel alive.
_DISPLAY_POLL_S = 0.02


def run(
    *sources: str | os.PathLike[str] | int, config: str | Path | None = None, **tables: Mapping[str, Any]
) -> Iterator[PosesResult]:
    """Run the pipeline and give each posed frame as it comes, in order for each source.

    Leaving the loop stops the run and closes every output properly: frames that were taken and are not done end as
    drops, which have lines in a JSONL file, and a video ends before the first of them. Windows (`output={"display":
    {}}`) are looked after between the results; closing them stops the run.

    Args:
        sources: video files, folders or globs of pictures, camera numbers, URLs.
        config: a settings file.
        tables: its tables, which beat the file: `network={"net_height": 368}, output={"jsonl": {"path": "a.jsonl"}}`.

    Raises:
        SettingsError: a setting is wrong, or an output must not be written; at the call.
        ModelError, EngineError: the network or the device is not to be had; at the call, or while it loads.
        SourceError: a source could not be opened or ended early; after everything that could be read.
        OutputError: there is no desktop for a window; at the call. An output could not be written; at the end.
    """
    raw: Raw = load_toml(Path(config)) if config is not None else {}
    raw = merged(raw, {name: _table(name, table) for name, table in tables.items()})
    if sources:
        raw["source"] = [{"url": _address(source)} for source in sources]
    settings = Settings.parse(raw, "run()" if config is None else str(config))
    _refuse_unheeded(settings)
    job = plan_job(settings, WeightStore.from_environment())
    return _results(job, open_display(is_wanted=settings.output.display is not None))


def _address(source: object) -> str:
    """Give a source of the call as settings have it.

    Raises:
        SettingsError: it is none.
    """
    if isinstance(source, str | os.PathLike | int) and not isinstance(source, bool):
        return str(source)
    hint = "; give each source as an argument of its own: run(*sources)" if isinstance(source, list | tuple) else ""
    raise SettingsError(f"run(): {source!r} is no source, which is a path, an address or a camera's number{hint}")


def _table(name: str, table: object) -> Any:
    """Give a table of the call as TOML gives it.

    Raises:
        SettingsError: it is a single setting, which belongs into a table.
    """
    if isinstance(table, Mapping):
        return dict(table)
    if name == "source":
        return table
    owner = next((owner for owner, keys in table_keys().items() if name in keys), None)
    right = f"{owner}={{{name!r}: {table!r}}}" if owner else "tables such as network={'net_height': 368}"
    raise SettingsError(f"run(): {name} = {table!r} is no table of settings; give {right}")


def _refuse_unheeded(settings: Settings) -> None:
    """Refuse what only the command line does.

    Raises:
        SettingsError: such a thing is asked for.
    """
    if settings.pipeline.mode != "threads":
        raise SettingsError('run(): results can be had in Python only with pipeline.mode = "threads"')
    if settings.output.display is not None and threading.current_thread() is not threading.main_thread():
        raise SettingsError("run(): windows can be shown in the main thread only; call it there")
    if settings.pipeline.status:
        raise SettingsError("run(): only the command line publishes a status (pipeline.status)")


def _results(job: Job, display: Display | NoDisplay) -> Iterator[PosesResult]:
    channel = _Channel()
    with closing(display):
        supervisor = start_job(job, [channel.sink])

        @functools.cache
        def end() -> Summary:
            channel.close()
            return supervisor.close()

        # A generator that somebody still holds at the interpreter's end is closed when threads can no longer end.
        atexit.register(end)
        try:
            for lane in supervisor.lanes:
                for sink in lane.display_sinks:
                    display.add(sink)
            poll_s = _POLL_S if isinstance(display, NoDisplay) else _DISPLAY_POLL_S
            while supervisor.is_running and not supervisor.has_crashed:
                yield from channel.take(poll_s)
                supervisor.wait(0)
                if not display.poll():
                    supervisor.stop()
            yield from channel.take(0)
        finally:
            atexit.unregister(end)
            summary = end()
    _raise_first_error(summary)


def _raise_first_error(summary: Summary) -> None:
    errors = [summary.error, *(report.error for report in summary.sources), *summary.output_errors]
    for error in errors:
        if error is not None:
            raise error


class _Channel:
    """A bounded queue from the lanes' threads to the caller's."""

    def __init__(self) -> None:
        self._queue: queue.Queue[PosesResult] = queue.Queue(_WAITING)
        self._is_closed = threading.Event()

    def sink(self, source: str) -> _ChannelSink:
        """Make the end that a lane writes to."""
        return _ChannelSink(self, source)

    def put(self, result: PosesResult) -> None:
        """Add a result, waiting for room as long as somebody listens."""
        while not self._is_closed.is_set():
            try:
                return self._queue.put(result, timeout=_POLL_S)
            except queue.Full:
                continue
        return None

    def take(self, timeout_s: float) -> Iterator[PosesResult]:
        """Give what is there, waiting a while for the first."""
        try:
            yield self._queue.get(timeout=timeout_s) if timeout_s else self._queue.get_nowait()
            while True:
                yield self._queue.get_nowait()
        except queue.Empty:
            return

    def close(self) -> None:
        """Listen no more."""
        self._is_closed.set()


class _ChannelSink:
    """The output that feeds the caller's loop."""

    def __init__(self, channel: _Channel, source: str) -> None:
        self._channel = channel
        self.name = f"results of {source}"
        self.paths: tuple[Path, ...] = ()

    def resume(self, source: str, since_s: float) -> Held | None:  # noqa: ARG002 - nothing is kept
        """Give None: nothing is kept."""
        return None

    def open(self, info: SourceInfo) -> None:
        """Nothing is to be opened."""

    def write(self, ended: Ended) -> None:
        """Give a posed frame to the caller."""
        if isinstance(ended.outcome, Poses):
            self._channel.put(PosesResult.from_message(ended.message))

    def close(self) -> None:
        """Nothing is to be closed."""
