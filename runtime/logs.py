"""Logs: one event with fields a line, for a person on a terminal and as JSON everywhere else."""

import logging
import sys
from typing import Any, TextIO

import stamina
import structlog

from runtime.settings import Settings

# Libraries that say at INFO what must not be said: whole addresses, every migration.
QUIETENED = ("httpx", "httpcore", "alembic")


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Set up logging for this process: structlog's events, and the standard library's in kind."""
    out = stream or sys.stderr
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and out.isatty())
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if as_text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Whoever retries says so itself, in its own words and no more often than is of use.
    stamina.instrumentation.set_on_retry_hooks([])
    for name in QUIETENED:
        logging.getLogger(name).setLevel(logging.WARNING)


def logger(role: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one part of a process; `role` is a field of every line."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(role=role)
    return log
