"""Which decoder groups: the compiled one where it is there, NumPy's elsewhere, or the one that is asked for."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

from posestream.models.layout import Layout
from posestream.stages.errors import SettingsError
from posestream.stages.group.compiled import CompiledDecoder, NotCompiledError, load
from posestream.stages.group.decoder import Decoder
from posestream.stages.group.reference import NumpyDecoder
from posestream.stages.group.settings import GroupSettings, Implementation

__all__ = ["choose_implementation", "make_decoder"]

_log = logging.getLogger(__name__)


def make_decoder(layout: Layout, settings: GroupSettings) -> Decoder:
    """Make the decoder that the settings ask for.

    Raises:
        SettingsError: it is the compiled one, which is not here.
    """
    if choose_implementation(settings.implementation) == "compiled":
        return CompiledDecoder(layout, settings)
    return NumpyDecoder(layout, settings)


def choose_implementation(wanted: Implementation) -> Literal["compiled", "numpy"]:
    """Give the implementation that serves; where "auto" has to do without the compiled one, the log says why.

    Raises:
        SettingsError: the compiled one is asked for and not here.
    """
    if wanted == "numpy":
        return "numpy"
    try:
        load()
    except NotCompiledError as error:
        if wanted == "compiled":
            raise SettingsError(f"group.implementation = compiled: {error}") from error
        # What was never compiled is news; what should have worked and does not is a warning.
        _tell_once(logging.WARNING if error.is_broken else logging.INFO, str(error))
        return "numpy"
    return "compiled"


@cache
def _tell_once(level: int, why: str) -> None:
    """Say why grouping will take longer, once however many replicas there are."""
    _log.log(level, "grouping runs in NumPy, which takes longer than compiled: %s", why)
