"""What outputs were made with, in a hidden file beside each, so that nobody goes on with them with other settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from posestream.pipeline.outputs import LaneOutputs
from posestream.pipeline.settings import NetworkTable
from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.group.group import GroupSettings
from posestream.stages.output.segments import has_segments
from posestream.stages.output.sink import make_folder, output_errors
from posestream.stages.source.opening import SourceSettings

__all__ = ["MadeWith", "check_made_with", "drop_empty_notes", "lasting_paths", "made_with", "note_made_with"]

_log = logging.getLogger(__name__)

#: Settings by their names in a settings file, as JSON gives them back.
MadeWith = Mapping[str, Any]

#: Settings of a source that may be others when it is gone on with: which it is, is known by its frames.
_FREE_OF_SOURCE = frozenset({"url", "name", "max_frames", "transport", "max_age_s", "hwaccel", "reconnect"})
#: Settings of grouping that change nothing of what is found.
_FREE_OF_GROUP = frozenset({"implementation"})


def made_with(model: str, network: NetworkTable, group: GroupSettings, source: SourceSettings) -> MadeWith:
    """List what decides what a source's outputs hold; the device does not, nor how many replicas there are."""
    tables = {
        "network": {**network.model_dump(exclude={"device"}), "model": model},
        "group": {key: value for key, value in asdict(group).items() if key not in _FREE_OF_GROUP},
        "source": {key: value for key, value in asdict(source).items() if key not in _FREE_OF_SOURCE},
    }
    flat = {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
    # As it will be read: a tuple becomes a list, and so on.
    plain: MadeWith = json.loads(json.dumps(flat, default=str))
    return plain


def check_made_with(outputs: LaneOutputs, settings: MadeWith) -> None:
    """Refuse to go on with outputs that were made with other settings; of older ones without a note nothing is known.

    Raises:
        SettingsError: a setting is another one.
    """
    for path in lasting_paths(outputs):
        if not _is_there(path):
            continue
        before = _noted(path)
        for key in settings.keys() & before.keys():
            if settings[key] != before[key]:
                raise SettingsError(
                    f"--resume: {path} was made with {key} = {_told(before[key])}, not {_told(settings[key])}; "
                    "give the same settings, or replace the output (--overwrite)"
                )


def note_made_with(outputs: LaneOutputs, settings: MadeWith) -> None:
    """Note beside each new output what it is made with; where that cannot be written, the output will tell why."""
    for path in lasting_paths(outputs):
        if outputs.table.resume and _is_there(path):
            continue  # it has its note, or was made by whatever settings there were
        note = _note_of(path)
        temporary = note.with_name(f"{note.name}.part")
        try:
            make_folder(path.parent)
            with output_errors(note):
                temporary.write_text(json.dumps(settings), "utf-8")
                temporary.replace(note)
        except OutputError as error:
            _log.debug("%s", error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def drop_empty_notes(outputs: LaneOutputs) -> None:
    """Remove the notes of outputs that were never begun."""
    for path in lasting_paths(outputs):
        if not _is_there(path):
            with suppress(OSError):
                _note_of(path).unlink(missing_ok=True)


def lasting_paths(outputs: LaneOutputs) -> list[Path]:
    """List the files and folders that stay and can be gone on with."""
    return [path for path in outputs.paths if path.name and (path.is_file() or path.is_dir() or not path.exists())]


def _is_there(path: Path) -> bool:
    """True if an output has been begun, as one file or in several."""
    return path.exists() or has_segments(path)


def _note_of(path: Path) -> Path:
    """Give the path of an output's note."""
    return path.with_name(f".{path.name}.made-with.json")


def _noted(path: Path) -> MadeWith:
    """Read an output's note; empty where there is none that can be read."""
    try:
        noted = json.loads(_note_of(path).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _told(value: object) -> str:
    """Give a value as a settings file has it."""
    return json.dumps(value)
