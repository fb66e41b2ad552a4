"""A progress bar for downloads, which appears only when something is downloaded."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

__all__ = ["FetchView"]


class FetchView:
    """Shows how much of a download has come."""

    def __init__(self, console: Console, *, is_quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            transient=True,
            disable=is_quiet or not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> FetchView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, done_bytes: int, total_bytes: int | None) -> None:
        """Show that so many bytes have come, of how many if that is known."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("downloading")
        self._progress.update(self._task, completed=done_bytes, total=total_bytes)
