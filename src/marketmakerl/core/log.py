"""Structured logging to stderr: quiet unless asked (MML_LOG_LEVEL, --verbose), never on stdout."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(level: str) -> None:
    """Send events of `level` (debug, info, warning, error) and above to stderr as one line each."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Looked up at each event: whoever captures stderr, a test say, gets what is logged then.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> Any:
    """Return a logger that carries the module's name."""
    return structlog.get_logger(module=name)


if not structlog.is_configured():  # as a library: warnings only, and not on stdout, where structlog's default goes
    configure("warning")
