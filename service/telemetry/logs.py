"""Log lines: JSON for machines, text for people; each says which request, job, shard and item it is about.

What a client sends can stand in a line but never begin one: control characters are escaped in both formats.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from service.store.settings import StoreSettings
from service.telemetry import context

OURS = ("flawsmith", "service", "worker", "models", "uvicorn", "rq")
"""Loggers that follow `FLAWSMITH_LOG_LEVEL`. Others begin at WARNING, for libraries that speak of every request
put headers, with their signatures, and bodies into their debug lines."""
QUIET = ("rq.worker", "rq.job", "rq.queue")
"""Of ours those that repeat what the worker says itself."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(role: str, settings: StoreSettings) -> None:
    """Send everything that this process logs to stderr, in one format; once a process.

    Args:
        role: what the process is: ``api``, ``worker``, ``house``.
    """
    as_json = settings.log_format == "json" or (settings.log_format is None and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role) if as_json else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = settings.log_level.upper()
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class JsonLines(JsonFormatter):
    """One JSON object a line: time, level, logger, message, role, what is bound, what the call adds, exception."""

    def __init__(self, role: str) -> None:
        super().__init__(
            reserved_attrs=[*logging.makeLogRecord({}).__dict__, "message", "asctime", "color_message"]
        )
        self._role = role

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["time"] = _time(record)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()
        log_data["role"] = self._role
        log_data.update(context.fields())
        log_data.update({name: value for name, value in record.__dict__.items() if name not in self._skip_fields})
        exception = message_dict.get("exc_info")
        if exception:
            log_data["exception"] = exception


class TextLines(logging.Formatter):
    """``time LEVEL logger: message [request_id=… job_id=…]``; lines of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.name}: {escaped(record.getMessage())}"
        bound = " ".join(f"{name}={escaped(str(value))}" for name, value in context.fields().items())
        if bound:
            line += f" [{bound}]"
        if record.exc_info:
            for part in self.formatException(record.exc_info).split("\n"):
                line += f"\n    {escaped(part)}"
        return line


def escaped(text: str) -> str:
    """``text`` with its control characters and line ends as ``\\n``, ``\\x1b``, …"""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("flawsmith").critical("the process ends: %s", error, exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if issubclass(found.exc_type, SystemExit):
        return
    error = found.exc_value or found.exc_type()
    name = found.thread.name if found.thread else "?"
    logging.getLogger("flawsmith").error(
        "thread %s ends: %s", name, error, exc_info=(found.exc_type, error, found.exc_traceback)
    )
