"""Reading a request body: size limits while it streams, and strict JSON.

``Content-Length`` is only a claim of the client; the received bytes are counted.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool

from lipwright.errors import LimitExceeded
from lipwright.server.deployment import Deployment
from lipwright.server.errors import FieldError, InvalidBody, truncate
from lipwright.server.http.memory_limiter import MemoryReservation
from lipwright.settings import Settings

MAX_DEPTH = 32  # nested objects and arrays; our deepest body has 6
MAX_KEYS = 1000  # of one object; ours have up to 10
SMALL_BODY_BYTES = 65_536  # smaller bodies are neither counted nor parsed in a thread
MAX_CHAR_BYTES = 4  # of one character in a Python string
VALUE_BYTES = 64  # length of a plain body that takes as much memory as one small value
BODY = "body"  # what error messages call it
JSON_TYPES = ("application/json", "text/json")


async def stream_body(
    request: Request, limit: int, what: str, *, idle_seconds: float
) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Args:
        request: the request.
        limit: most bytes.
        what: name of the body in error messages.
        idle_seconds: longest wait for the next bytes.

    Raises:
        LimitExceeded: the declared or received length is over *limit*.
        HTTPException: 408, nothing arrived in time.
    """
    _check_length(declared_length(request), limit, what)
    stream = aiter(request.stream())
    size = 0
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as cause:
            message = f"nothing of the {what} arrived within {idle_seconds:g} s: send it again"
            raise HTTPException(408, message) from cause
        size += len(chunk)
        _check_length(size, limit, what)
        if chunk:
            yield chunk


def declared_length(request: Request) -> int:
    """Return the value of ``Content-Length``, 0 if it is missing or malformed."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


@asynccontextmanager
async def read_json_object(
    request: Request, deployment: Deployment
) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON object in the body; its memory counts as held until the block ends.

    Raises:
        HTTPException: 415, the content type is not JSON; 408, the body does not arrive in time.
        LimitExceeded: the body is longer than ``max_json_bytes``, or parsing takes too much memory.
        TooManyRequests: other bodies hold the memory.
        InvalidBody: the body is not a JSON object, or parsers disagree on its meaning.
    """
    _check_type(request.headers.get("content-type", ""))
    with deployment.body_memory.reserve() as reservation:
        raw = await _read_body(request, deployment.settings, reservation)
        if len(raw) <= SMALL_BODY_BYTES:
            yield parse_json_object(bytes(raw))
        else:
            yield await _parse_large_object(raw, reservation, deployment.body_memory.total)


async def _read_body(
    request: Request, settings: Settings, reservation: MemoryReservation
) -> bytearray:
    """Return the body; memory for a large one is reserved before it is read."""
    limit, body = settings.max_json_bytes, bytearray()
    declared = declared_length(request)
    _check_length(declared, limit, BODY)
    if declared > SMALL_BODY_BYTES:
        await reservation.acquire(declared)
    try:
        async with asyncio.timeout(settings.json_seconds):
            async for chunk in stream_body(
                request, limit, BODY, idle_seconds=settings.body_idle_seconds
            ):
                if len(body) + len(chunk) > SMALL_BODY_BYTES and not reservation.size:
                    await reservation.acquire(limit)  # the final length is unknown
                body += chunk
    except TimeoutError as cause:
        message = f"the body did not arrive within {settings.json_seconds:g} s: upload the files"
        raise HTTPException(408, message) from cause
    reservation.shrink(len(body))
    return body


async def _parse_large_object(
    raw: bytearray, reservation: MemoryReservation, limit: int
) -> dict[str, Any]:
    """Reserve the memory for parsing, then parse in a thread to keep the event loop free."""
    cost = await run_in_threadpool(parse_cost, raw)
    if cost > limit:
        raise LimitExceeded(
            "the body would take too much memory: send fewer values, and long texts in plain ASCII "
            "without \\u escapes; or upload the files and send their URLs"
        )
    reservation.grow(cost)
    text = await run_in_threadpool(_decode, raw)
    raw.clear()
    return await run_in_threadpool(_load_object, text)


def parse_cost(raw: bytes | bytearray) -> int:
    """Return the length of a plain body that takes as much memory to parse as *raw*.

    CPython stores a string with one wide character in up to 4 bytes per character, and the smallest
    value in about 200 bytes; parsing a plain body takes about three times its length.
    """
    wide = not raw.isascii() or b"\\u" in raw
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    return max(len(raw) * (MAX_CHAR_BYTES if wide else 1), values * VALUE_BYTES)


def parse_json_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in *raw*, parsed strictly.

    Refused: encodings other than UTF-8, duplicate keys, NaN and infinity, numbers out of range,
    unpaired surrogates, NUL, nesting deeper than 32.

    Raises:
        InvalidBody: *raw* is not such an object.
    """
    return _load_object(_decode(raw))


def parse_json(raw: bytes) -> Any:
    """Return the JSON value in *raw*, parsed as strictly as an object.

    Raises:
        InvalidBody: *raw* is not such a value.
    """
    return _load(_decode(raw))


def _decode(raw: bytes | bytearray) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise _invalid(f"byte {cause.start} is not UTF-8: send JSON as UTF-8") from cause


def _load_object(text: str) -> dict[str, Any]:
    value = _load(text)
    if not isinstance(value, dict):
        raise _invalid("not a JSON object: send {…}")
    return value


def _load(text: str) -> Any:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_build_object,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
        )
    except InvalidBody:
        raise
    except RecursionError as cause:
        raise _invalid(f"nested deeper than {MAX_DEPTH}: send the documented body") from cause
    except ValueError as cause:
        raise _invalid(f"not JSON: {truncate(str(cause))}") from cause
    _check_strings(value)
    return value


def _check_length(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise LimitExceeded(
            f"the {what} is over the limit of {limit} bytes: send a smaller one, "
            "or upload the files and send their URLs"
        )


def _check_type(content_type: str) -> None:
    kind = content_type.split(";")[0].strip().lower()
    if kind and kind not in JSON_TYPES and not kind.endswith("+json"):
        message = f"Content-Type {truncate(kind)!r} is not supported here: send application/json"
        raise HTTPException(415, message)


def _invalid(message: str) -> InvalidBody:
    return InvalidBody(FieldError(loc=("body",), message=message))


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise _invalid(f"an object has more than {MAX_KEYS} keys: send the documented body")
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise _invalid(f"the key {truncate(repr(name))} comes twice: send it once")
        result[name] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise _invalid(f"{name} is not a JSON number: send a finite one")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _invalid(f"the number {truncate(text)} is out of range")
    return value


def _check_strings(value: object) -> None:
    for depth, text in _walk_strings(value):
        if depth > MAX_DEPTH:
            raise _invalid(f"nested deeper than {MAX_DEPTH}: send the documented body")
        if "\x00" in text:
            raise _invalid("a text contains NUL: leave it out")
        if text.isascii():
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as cause:
            raise _invalid(
                "a text contains an unpaired surrogate: send whole characters"
            ) from cause


def _walk_strings(root: object) -> Iterator[tuple[int, str]]:
    """Yield every string with its depth, and an empty string for every container."""
    pending = [(1, root)]
    while pending:
        depth, value = pending.pop()
        if isinstance(value, str):
            yield depth, value
        elif isinstance(value, dict | list):
            yield depth, ""
            inside = [*value, *value.values()] if isinstance(value, dict) else value
            pending += [(depth + 1, item) for item in inside]
