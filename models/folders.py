"""Where networks are kept on this machine: the folders that the user names, then the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from posestream.models.cache import cache_folder

__all__ = ["FOLDERS_VARIABLE", "models_cache", "named_folders"]

#: Names folders with networks, separated as in PATH, that are searched before the cache.
FOLDERS_VARIABLE = "POSESTREAM_MODELS"


def named_folders(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Give the folders that the user names, in their order."""
    named = environment.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    return tuple(Path(folder).expanduser() for folder in named if folder)


def models_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Give the folder in which fetched and imported networks have a folder each."""
    return cache_folder("models", environment)
