"""What tests of more than one folder share."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import settings

from . import media as media_module

# A time limit would fail on machines that do something else beside.
settings.register_profile("posestream", deadline=None)
settings.load_profile("posestream")


@pytest.fixture
def media() -> ModuleType:
    """Give the makers of small videos and pictures (tests/media.py)."""
    return media_module
