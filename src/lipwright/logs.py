"""Logs of the service: one line an event, for people or as JSON, never with keys or signatures.

Every record made while a request is served, or its job carried out, carries its request id.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any

from lipwright.settings import Settings

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
current_request: ContextVar[str] = ContextVar("current_request", default="")

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
LOGGERS = ("lipwright", "uvicorn", "dbos")  # ours, and of what carries us


def request_id(given: str | None) -> str:
    """Return the caller's ``X-Request-Id`` if it is harmless in a log line, else a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def configure(settings: Settings, stream: IO[str] | None = None) -> None:
    """Send the logs of this process to *stream*, standard error by default; may be called again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(settings.log_level.upper())
    logging.getLogger("dbos").setLevel(max(logging.WARNING, logging.getLogger("dbos").level))
    logging.getLogger("uvicorn.access").disabled = True  # it would log signed URLs; ours does not


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_request(),
            **_extra(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """``time level message name=value …``, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on lines of its own."""
        facts = {**_extra(record), **_request()}
        told = "".join(f" {name}={_word(value)}" for name, value in facts.items())
        text = _one_line(record.getMessage())
        line = f"{_time(record)} {record.levelname.lower():7} {text}{told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _request() -> dict[str, str]:
    known = current_request.get()
    return {"request_id": known} if known else {}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _word(value: object) -> str:
    text = _one_line(str(value))
    return json.dumps(text, ensure_ascii=False) if " " in text or not text or '"' in text else text
