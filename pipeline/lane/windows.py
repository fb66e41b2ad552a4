"""The windows of a process, or none: whoever has the main thread shows them."""

from __future__ import annotations

from posestream.stages.output.display import Display, DisplaySink

__all__ = ["NoDisplay", "open_display"]


class NoDisplay:
    """Stands for windows where none were asked for."""

    def add(self, sink: DisplaySink) -> None:
        """Nothing shows it."""

    def poll(self) -> bool:
        """Nobody closes what is not there."""
        return True

    def close(self) -> None:
        """Nothing is to be closed."""


def open_display(*, is_wanted: bool) -> Display | NoDisplay:
    """Give windows to show pictures in, if they are wanted.

    Raises:
        OutputError: there is no desktop to open them on.
    """
    return Display() if is_wanted else NoDisplay()
