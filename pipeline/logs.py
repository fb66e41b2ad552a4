"""The log: its lines, for people or as JSON, and what of it is told."""

from __future__ import annotations

import json
import logging

from rich.console import Console
from rich.text import Text

from posestream.stages.redact import redacted_text
from posestream.stages.source.link_state import ABSENCES

__all__ = ["LOG_FORMATS", "LOSSES", "json_entry", "one_line", "set_up_logging"]

LOG_FORMATS = ("text", "json")
#: The logger of what a recorded source lost, whose warnings are told even when quiet.
LOSSES = "posestream.losses"


def one_line(text: str) -> str:
    """Write control characters out, line feeds among them: a file's name may hold any, and terminals obey them."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def json_entry(created_s: float, level: str, logger: str, message: str, **more: str) -> str:
    """Give the line of one entry of a JSON log: time, level, logger, message, and what else there is to tell."""
    return json.dumps(
        {"time": round(created_s, 3), "level": level, "logger": logger, "message": redacted_text(message), **more}
    )


class _JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line of a record."""
        # Sources tell their state field by field too, without secrets: programs need not read the text.
        more: dict[str, str] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            more["traceback"] = redacted_text(self.formatException(record.exc_info))
        return json_entry(record.created, record.levelname.lower(), record.name, record.getMessage(), **more)


class _TextFormatter(logging.Formatter):
    """`posestream: message`, with the level where it is more than news."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line of a record."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        text = f"posestream: {level}{one_line(redacted_text(record.getMessage()))}"
        return f"{text}\n{redacted_text(self.formatException(record.exc_info))}" if record.exc_info else text


class _ConsoleHandler(logging.Handler):
    """Writes lines above the progress bar instead of through it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        self._console.print(Text(self.format(record)), soft_wrap=True)


def set_up_logging(console: Console, log_format: str, *, is_quiet: bool, is_debugging: bool) -> None:
    """Send the log to the console: news and worse; errors, losses and absences when quiet; all when debugging."""
    handler = _ConsoleHandler(console)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logger = logging.getLogger("posestream")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if is_debugging else logging.ERROR if is_quiet else logging.INFO)
    for name in (LOSSES, ABSENCES):
        logging.getLogger(name).setLevel(min(logger.level, logging.WARNING))
