"""Logging of the service: one line per event, as text or JSON, without keys or signatures.

Every record made while an HTTP request is handled has its ``http_request_id``. Records about a job
have its ``job_id``; the record of the submit has both.
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

VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
http_request_id: ContextVar[str] = ContextVar("http_request_id", default="")

_STANDARD_FIELDS = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
LOGGERS = ("lipwright", "uvicorn", "dbos")


def accept_request_id(header: str | None) -> str:
    """Return the caller's ``X-Request-Id`` if it is safe in a log line, else a new id."""
    return header if header and VALID_REQUEST_ID.fullmatch(header) else uuid.uuid4().hex


def configure(settings: Settings, stream: IO[str] | None = None) -> None:
    """Log to *stream*, by default standard error; calling it again replaces the handlers."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(settings.log_level.upper())
    logging.getLogger("dbos").setLevel(max(logging.WARNING, logging.getLogger("dbos").level))
    logging.getLogger("uvicorn.access").disabled = True  # it would log signed URLs


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_request_fields(),
            **_extra_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as ``time level message name=value …``, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; a traceback follows on further lines."""
        fields = {**_extra_fields(record), **_request_fields()}
        pairs = "".join(f" {name}={_quote(value)}" for name, value in fields.items())
        text = _escape(record.getMessage())
        line = f"{_time(record)} {record.levelname.lower():7} {text}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _request_fields() -> dict[str, str]:
    value = http_request_id.get()
    return {"http_request_id": value} if value else {}


def _extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}


def _escape(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quote(value: object) -> str:
    text = _escape(str(value))
    return json.dumps(text, ensure_ascii=False) if " " in text or not text or '"' in text else text
