"""Structured logging to stderr: quiet unless asked (MML_LOG_LEVEL, --verbose), never on stdout.

Our own loggers, set up by nobody but us: a program that uses this package and structlog keeps its own configuration.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

_level = logging.WARNING  # as a library


def configure(level: str) -> None:
    """Send events of `level` (debug, info, warning, error) and above to stderr as one line each."""
    global _level  # noqa: PLW0603  (one process, one stderr)
    _level = logging.getLevelNamesMapping()[level.upper()]


class Logger:
    """A logger that carries the module's name. structlog is loaded at the first event that is shown."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **fields: Any) -> None:
        """Tell a developer."""
        self._tell("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Tell who asked for more."""
        self._tell("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Tell what a user should know."""
        self._tell("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Tell what went wrong."""
        self._tell("error", event, fields)

    def _tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if logging.getLevelNamesMapping()[level.upper()] < _level:
            return
        import structlog  # noqa: PLC0415

        # Made for each event: whoever captures stderr, a test say, gets what is logged then.
        logger = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
            ],
            module=self._name,
        )
        getattr(logger, level)(event, **fields)


def get_logger(name: str) -> Logger:
    """Return a logger that carries the module's name."""
    return Logger(name)
