"""What lies at a path; what the system will not look at is nothing, and opening it says why."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["is_folder", "is_there"]

# Path's own methods raise where a name is too long or a folder may not be looked into.


def is_there(path: Path | str) -> bool:
    """True if something lies there."""
    return os.path.exists(path)  # noqa: PTH110 # see above


def is_folder(path: Path | str) -> bool:
    """True if a folder lies there."""
    return os.path.isdir(path)  # noqa: PTH112 # see above
