"""Validating a request body, and the submit request that both dialects produce from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lipwright.options import SyncOptions
from lipwright.server.errors import FieldError, InvalidBody, Loc, truncate

MAX_FIELD_ERRORS = 20  # reported for one body
HASH_CHUNK = 1 << 20  # characters

BodyModel = TypeVar("BodyModel", bound=BaseModel)

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, kw_only=True)
class SourceRef:
    """The URL of an input file, and the field of the request that it came in."""

    url: str
    loc: Loc


@dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """A validated submit call, independent of the dialect."""

    dialect: str  #: ``runcomfy`` or ``sync_v2``
    model_id: str  #: as given by the caller
    engine: str
    video: SourceRef
    audio: SourceRef
    options: SyncOptions
    seed: int | None = None  #: for engines that draw random numbers
    input: Mapping[str, Any]  #: input object of the dialect, repeated in responses
    webhook: SourceRef | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of dialect, model and input; independent of the JSON formatting."""
        digest = hashlib.sha256()
        body = [self.dialect, self.model_id, self.input]
        for text in json.JSONEncoder(sort_keys=True).iterencode(body):
            for start in range(0, len(text), HASH_CHUNK):  # do not copy a long data URI at once
                digest.update(text[start : start + HASH_CHUNK].encode())
        return digest.hexdigest()


def validate_body(model: type[BodyModel], value: Mapping[str, Any]) -> BodyModel:
    """Return *value* as a *model*.

    Raises:
        InvalidBody: it does not match the model; every error names its field.
    """
    try:
        return model.model_validate(value)
    except ValidationError as cause:
        errors = cause.errors(include_url=False, include_input=False)
        raise InvalidBody(*to_field_errors(errors)) from None


def to_field_errors(errors: Sequence[Any], root: Loc = ("body",)) -> list[FieldError]:
    """Return the first few errors of pydantic as field errors.

    Args:
        errors: as `pydantic.ValidationError.errors` returns them.
        root: where the validated value is in the request.
    """
    return [
        FieldError(loc=(*root, *map(_truncate_step, error["loc"])), message=_message(error))
        for error in errors[:MAX_FIELD_ERRORS]
    ]


def drop_nulls(value: Any) -> Any:
    """Return *value* without keys whose value is null, which clients send for missing options."""
    if isinstance(value, dict):
        return {key: drop_nulls(item) for key, item in value.items() if item is not None}
    return [drop_nulls(item) for item in value] if isinstance(value, list) else value


def replace_strings(value: Any, replacements: Mapping[str, str]) -> Any:
    """Return *value* with every string that is a key of *replacements* replaced."""
    if isinstance(value, str):
        return replacements.get(value, value)
    if isinstance(value, Mapping):
        return {key: replace_strings(item, replacements) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_strings(item, replacements) for item in value]
    return value


def check_idempotency_key(header: str | None) -> str | None:
    """Return a valid ``Idempotency-Key``, None if there is none.

    Raises:
        InvalidBody: it is empty, too long or has other characters than visible ASCII.
    """
    if header is not None and not _IDEMPOTENCY_KEY.fullmatch(header):
        message = "use 1 to 255 visible ASCII characters, such as a UUID"
        raise InvalidBody(FieldError(loc=("header", "Idempotency-Key"), message=message))
    return header


def parse_traceparent(header: str | None) -> str | None:
    """Return a valid W3C ``traceparent``; the specification says to ignore an invalid one."""
    match = _TRACEPARENT.fullmatch(header or "")
    if match is None or match[1] == "ff" or not match[2].strip("0") or not match[3].strip("0"):
        return None
    return header


def _truncate_step(step: str | int) -> str | int:
    return truncate(step) if isinstance(step, str) else step


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field: leave it out"
    if error["type"] == "missing":
        return "missing: this field is required"
    return str(error["msg"]).removeprefix("Value error, ")
