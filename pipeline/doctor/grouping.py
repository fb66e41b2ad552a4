"""Which decoder groups keypoints into people here: the compiled one, or NumPy's and why."""

from __future__ import annotations

from posestream.pipeline.doctor.finding import Finding, State
from posestream.stages.group.compiled import NotCompiledError, load

__all__ = ["look_at_grouping"]

_SECTION, _NAME = "grouping", "decoder"


def look_at_grouping() -> list[Finding]:
    """Tell which decoder serves, and where it is NumPy's what to do for the compiled one."""
    try:
        load()
    except NotCompiledError as error:
        # What was never compiled is no fault; what should have worked and does not is one.
        state = State.WARNING if error.is_broken else State.ABSENT
        text = f"numpy: the same people in more time; {error.why}"
        return [Finding(_SECTION, _NAME, state, text, error.advice, {"implementation": "numpy"})]
    return [Finding(_SECTION, _NAME, State.OK, "compiled", data={"implementation": "compiled"})]
