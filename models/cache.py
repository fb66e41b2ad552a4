"""Where posestream keeps what it fetched and compiled: one folder per user, or `POSESTREAM_CACHE`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

__all__ = ["CACHE_VARIABLE", "cache_folder"]

#: Names another folder for everything that is kept.
CACHE_VARIABLE = "POSESTREAM_CACHE"


def cache_folder(purpose: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Give the folder for one purpose ("models", "compiled", "samples"); it need not exist yet."""
    named = environment.get(CACHE_VARIABLE)
    root = Path(named).expanduser() if named else platformdirs.user_cache_path("posestream", appauthor=False)
    return root / purpose
