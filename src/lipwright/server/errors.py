"""What went wrong, told in the words of each dialect.

RunComfy: ``{"error_code": 422001, "error_message": "…", "detail": […]}``. sync.so v2 has the same
three, its codes are words, and there are ``errorCode``, ``message`` and ``statusCode`` beside them
for its clients. ``detail`` is a list everywhere: ``type`` is the stable code of
:mod:`lipwright.errors`, ``msg`` what is wrong, ``loc`` the field, where one is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from lipwright.errors import (
    AccessDenied,
    EngineNotFound,
    InvalidOptions,
    LipwrightError,
    TooManyRequests,
)

Loc = tuple[str | int, ...]  #: where: ``("body", "video_url")``

MAX_SHOWN = 120  # characters of a value or name that a client sent, in a message to it
RETRY_SECONDS = 1  # for what passes by itself: a locked database, a full disk
NUMBERS = {AccessDenied: 400004, EngineNotFound: 400001}  # RunComfy's own; else status * 1000 + 1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong with a request."""

    loc: Loc
    message: str


class InvalidBody(InvalidOptions):
    """The request does not fit; every fault names its field."""

    def __init__(self, *faults: Fault, reason: LipwrightError | None = None) -> None:
        super().__init__("; ".join(f"{where(fault.loc)}: {fault.message}" for fault in faults))
        self.faults = faults
        self.reason = reason  #: whose code and status it has, if not its own


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An error as it goes over the wire, before a dialect words it."""

    status: int  #: of HTTP
    code: str  #: stable word
    number: int  #: RunComfy's error code
    message: str
    detail: Sequence[Mapping[str, Any]]
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: LipwrightError) -> Problem:
        """Return the problem that *error* means."""
        kind, faults = error, [Fault(loc=(), message=str(error))]
        if isinstance(error, InvalidBody):
            kind, faults = error.reason or error, list(error.faults)
        return cls(
            status=kind.http_status,
            code=kind.code,
            number=_number(kind),
            message=str(error),
            detail=[_detail(kind.code, fault) for fault in faults],
            headers=_headers(kind),
        )

    @classmethod
    def http(
        cls, status: int, message: str, headers: Mapping[str, str] | None = None, code: str = ""
    ) -> Problem:
        """Return a problem of HTTP itself: no such path, method, media type, range."""
        word = code or HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
        return cls(
            status=status,
            code=word,
            number=status * 1000 + 1,
            message=message,
            detail=[_detail(word, Fault(loc=(), message=message))],
            headers=headers or {},
        )

    def runcomfy(self) -> dict[str, Any]:
        """Return the body in RunComfy's words."""
        return {
            "error_code": self.number,
            "error_message": self.message,
            "detail": list(self.detail),
        }

    def sync_v2(self) -> dict[str, Any]:
        """Return the body in the words of sync.so."""
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
        """HTTP status of that dialect: its clients know a bad body as 400."""
        bad_body = self.status == HTTPStatus.UNPROCESSABLE_ENTITY or self.number == 400001
        return HTTPStatus.BAD_REQUEST.value if bad_body else self.status


def where(loc: Loc) -> str:
    """Write a place as people do: ``input[0].url``."""
    steps = loc[1:] if len(loc) > 1 else loc
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def shown(text: str) -> str:
    """Cut what a client sent to a length that fits into a message."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _number(error: LipwrightError) -> int:
    known = (number for kind, number in NUMBERS.items() if isinstance(error, kind))
    return next(known, error.http_status * 1000 + 1)


def _headers(error: LipwrightError) -> dict[str, str]:
    match error:
        case TooManyRequests():
            return {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
        case AccessDenied():
            return {"WWW-Authenticate": 'Bearer realm="lipwright"'}
    return {"Retry-After": str(RETRY_SECONDS)} if error.retryable else {}


def _detail(code: str, fault: Fault) -> dict[str, Any]:
    place = {"loc": list(fault.loc)} if fault.loc else {}
    return {"type": code, "msg": fault.message, **place}
