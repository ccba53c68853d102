"""Checking a parsed body against its model, and what both dialects make of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lipwright.server.errors import Fault, InvalidBody, Loc, shown

MAX_FAULTS = 20  # told of one body
HASH_STEP = 1 << 20  # characters

Body = TypeVar("Body", bound=BaseModel)

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a file is to come from, as the caller wrote it, and in which field."""

    url: str
    loc: Loc


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One submit call, understood: what both dialects come down to."""

    dialect: str  #: ``runcomfy`` or ``sync_v2``
    model_id: str  #: as asked for
    engine: str
    video: Source
    audio: Source
    work: Mapping[str, Any]  #: what the worker does, but for the two sources
    input: Mapping[str, Any]  #: the wire's own object, for answers
    webhook: Source | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that was asked for: the same for the same body, however spaced."""
        digest = hashlib.sha256()
        body = [self.dialect, self.model_id, self.input]
        for text in json.JSONEncoder(sort_keys=True).iterencode(body):
            for at in range(0, len(text), HASH_STEP):  # a data URI is long; a copy is too
                digest.update(text[at : at + HASH_STEP].encode())
        return digest.hexdigest()


def check(model: type[Body], value: Mapping[str, Any]) -> Body:
    """Return *value* as a *model*.

    Raises:
        InvalidBody: it does not fit; every fault names its field.
    """
    try:
        return model.model_validate(value)
    except ValidationError as cause:
        raise InvalidBody(
            *faults_of(cause.errors(include_url=False, include_input=False))
        ) from None


def faults_of(errors: Sequence[Any], root: Loc = ("body",)) -> list[Fault]:
    """Return what pydantic found as faults; the first few."""
    return [
        Fault(loc=(*root, *map(_step, error["loc"])), message=_plain(error))
        for error in errors[:MAX_FAULTS]
    ]


def without_nulls(value: Any) -> Any:
    """Return *value* without the keys whose value is null: clients send them for 'not given'."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def swapped(value: Any, replacements: Mapping[str, str]) -> Any:
    """Return *value* with whole texts replaced wherever they are."""
    if isinstance(value, str):
        return replacements.get(value, value)
    if isinstance(value, Mapping):
        return {key: swapped(item, replacements) for key, item in value.items()}
    return [swapped(item, replacements) for item in value] if isinstance(value, list) else value


def idempotency_key(given: str | None) -> str | None:
    """Return a usable ``Idempotency-Key``.

    Raises:
        InvalidBody: it is empty, too long or holds more than visible ASCII.
    """
    if given is not None and not IDEMPOTENCY_KEY.fullmatch(given):
        message = "use 1 to 255 visible ASCII characters, such as a UUID"
        raise InvalidBody(Fault(loc=("header", "Idempotency-Key"), message=message))
    return given


def traceparent(given: str | None) -> str | None:
    """Return a valid W3C ``traceparent``, None for any other; a bad one must be ignored."""
    match = _TRACEPARENT.fullmatch(given or "")
    if match is None or match[1] == "ff" or not match[2].strip("0") or not match[3].strip("0"):
        return None
    return given


def _step(step: str | int) -> str | int:
    return shown(step) if isinstance(step, str) else step


def _plain(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field: leave it out"
    if error["type"] == "missing":
        return "missing: this field is required"
    return str(error["msg"]).removeprefix("Value error, ")
