"""Which decoder groups: the compiled one where it is there, the one in NumPy elsewhere, or the one that is asked for."""

from __future__ import annotations

import logging
from functools import cache

from posestream.models.layout import Layout
from posestream.stages.errors import SettingsError
from posestream.stages.group.compiled import CompiledDecoder, NotCompiledError
from posestream.stages.group.decoder import Decoder
from posestream.stages.group.reference import NumpyDecoder
from posestream.stages.group.settings import GroupSettings

__all__ = ["make_decoder"]

_log = logging.getLogger(__name__)


def make_decoder(layout: Layout, settings: GroupSettings) -> Decoder:
    """Make the decoder that the settings ask for.

    Raises:
        SettingsError: it is the compiled one, which is not here.
    """
    if settings.implementation == "numpy":
        return NumpyDecoder(layout, settings)
    try:
        return CompiledDecoder(layout, settings)
    except NotCompiledError as error:
        if settings.implementation == "compiled":
            raise SettingsError(f"group.implementation = compiled: {error}") from error
        # What was never compiled is news; what should have worked and does not is a warning.
        _tell_once(logging.WARNING if error.is_broken else logging.INFO, str(error))
        return NumpyDecoder(layout, settings)


@cache
def _tell_once(level: int, why: str) -> None:
    """Say why grouping will be slower, once however many replicas there are."""
    _log.log(level, "grouping runs in NumPy, which takes longer; as to the compiled one: %s", why)
