"""What tests of more than one folder share."""

from __future__ import annotations

from types import ModuleType

import pytest

from . import media as media_module


@pytest.fixture
def media() -> ModuleType:
    """Give the makers of small videos and pictures (tests/media.py)."""
    return media_module
