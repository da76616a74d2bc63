"""Log lines: structlog to stderr, for people (``console``) or machines (``json``); the standard library's loggers join in."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

import structlog

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("console", "json")
_QUIET = {
    "kafka": logging.CRITICAL, "opentelemetry": logging.CRITICAL, "urllib3": logging.ERROR, "alembic": logging.WARNING,
    "werkzeug": logging.WARNING,
}  # fmt: skip
"""Libraries that say more than is wanted. kafka-python and OpenTelemetry log every retry; what comes of it is said by us."""


class _Lines:
    """Writes lines to stderr; a reader that is gone (a pipe closed at shutdown) stops nobody."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(message, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = exception = log = failure = msg


def configure(service: str, level: str = "info", form: str = "console") -> None:
    """Sets up logging for the process. ``level``: one of ``LEVELS``; ``form``: one of ``FORMATS``. Called once, early."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        shared += [_add_service(service), structlog.processors.format_exc_info]
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(number, logging.INFO), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    for name, at_least in _QUIET.items():
        logging.getLogger(name).setLevel(max(number, at_least))


def _add_service(service: str) -> Any:
    def add(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event["service"] = service
        return event

    return add
