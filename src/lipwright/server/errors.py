"""Errors in the format of each dialect.

RunComfy: ``{"error_code": 422001, "error_message": "…", "detail": […]}``. sync.so v2 has the same
three fields with words as codes, and for its clients also ``errorCode``, ``message`` and
``statusCode``. ``detail`` is always a list: ``type`` is the stable code of :mod:`lipwright.errors`,
``msg`` the message, ``loc`` the field, if one is at fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from lipwright.errors import (
    AccessDenied,
    EngineNotFound,
    InvalidOptions,
    LipwrightError,
    TooManyRequests,
)

Loc = tuple[str | int, ...]  #: location of a field: ``("body", "video_url")``

MAX_ECHOED = 120  # characters of a client's value or name in a message
RETRY_SECONDS = 1  # Retry-After of transient errors: a locked database, a full disk
RUNCOMFY_CODES = {  # of RunComfy itself; all others: status * 1000 + 1
    AccessDenied: 400004,
    EngineNotFound: 400001,
}


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One error in a request."""

    loc: Loc  #: empty: no single field
    message: str


class InvalidBody(InvalidOptions):
    """The request is invalid; every error names its field.

    Args:
        field_errors: what is wrong.
        cause: the error whose code and HTTP status the response has, if not those of this class.
    """

    def __init__(self, *field_errors: FieldError, cause: LipwrightError | None = None) -> None:
        texts = (f"{format_location(error.loc)}: {error.message}" for error in field_errors)
        super().__init__("; ".join(texts))
        self.field_errors = field_errors
        self.cause = cause


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error response, independent of the dialect."""

    status: int  #: HTTP status
    code: str  #: stable word
    runcomfy_code: int
    message: str
    detail: Sequence[Mapping[str, Any]]
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_error(cls, error: LipwrightError) -> Problem:
        """Return the response to *error*."""
        cause, field_errors = error, [FieldError(loc=(), message=str(error))]
        if isinstance(error, InvalidBody):
            cause, field_errors = error.cause or error, list(error.field_errors)
        return cls(
            status=cause.http_status,
            code=cause.code,
            runcomfy_code=_runcomfy_code(cause),
            message=str(error),
            detail=[_detail(cause.code, field_error) for field_error in field_errors],
            headers=_headers(cause),
        )

    @classmethod
    def http(
        cls, status: int, message: str, headers: Mapping[str, str] | None = None, code: str = ""
    ) -> Problem:
        """Return an error of HTTP itself, such as an unknown path, method or media type."""
        word = code or HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
        return cls(
            status=status,
            code=word,
            runcomfy_code=status * 1000 + 1,
            message=message,
            detail=[_detail(word, FieldError(loc=(), message=message))],
            headers=headers or {},
        )

    def to_runcomfy(self) -> dict[str, Any]:
        """Return the body in RunComfy's format."""
        return {
            "error_code": self.runcomfy_code,
            "error_message": self.message,
            "detail": list(self.detail),
        }

    def to_sync_v2(self) -> dict[str, Any]:
        """Return the body in the format of sync.so."""
        return {
            "error_code": self.code,
            "errorCode": self.code,
            "error_message": self.message,
            "message": self.message,
            "statusCode": self.sync_v2_status,
            "detail": list(self.detail),
        }

    @property
    def sync_v2_status(self) -> int:
        """HTTP status for clients of sync.so, which expect 400 for an invalid body."""
        bad_body = self.status == HTTPStatus.UNPROCESSABLE_ENTITY or self.runcomfy_code == 400001
        return HTTPStatus.BAD_REQUEST.value if bad_body else self.status


def problem_response(problem: Problem, path: str) -> JSONResponse:
    """Return *problem* in the dialect of the request's *path*."""
    headers = dict(problem.headers)
    if path.startswith("/v2/"):
        status = problem.sync_v2_status
        return JSONResponse(problem.to_sync_v2(), status_code=status, headers=headers)
    return JSONResponse(problem.to_runcomfy(), status_code=problem.status, headers=headers)


def format_location(loc: Loc) -> str:
    """Return the location of a field as people write it: ``input[0].url``."""
    steps = loc[1:] if len(loc) > 1 else loc
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def truncate(text: str) -> str:
    """Shorten a client's text so that it fits into a message."""
    return text if len(text) <= MAX_ECHOED else f"{text[:MAX_ECHOED]}…"


def _runcomfy_code(error: LipwrightError) -> int:
    known = (code for kind, code in RUNCOMFY_CODES.items() if isinstance(error, kind))
    return next(known, error.http_status * 1000 + 1)


def _headers(error: LipwrightError) -> dict[str, str]:
    match error:
        case TooManyRequests():
            return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
        case AccessDenied():
            return {"WWW-Authenticate": 'Bearer realm="lipwright"'}
    return {"Retry-After": str(RETRY_SECONDS)} if error.retryable else {}


def _detail(code: str, error: FieldError) -> dict[str, Any]:
    loc = {"loc": list(error.loc)} if error.loc else {}
    return {"type": code, "msg": error.message, **loc}
