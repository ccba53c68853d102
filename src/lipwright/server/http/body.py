"""Reading a request's body: bounded while it streams, and JSON without surprises.

A length that the client states is only a promise; what counts is what arrives.
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
from lipwright.server.errors import Fault, InvalidBody, shown
from lipwright.server.http.memory_limiter import Share
from lipwright.settings import Settings

MAX_DEPTH = 32  # objects and arrays inside each other; our deepest body has 6
MAX_KEYS = 1000  # of one object; ours have up to 10
SMALL_BYTES = 65_536  # up to here a body is not worth counting, nor parsing in a thread
WIDE = 4  # bytes of a character at most
VALUE_BYTES = 64  # of a plain body, which take as much memory as one small value
BODY = "body"
JSON_TYPES = ("application/json", "text/json")


async def pieces(
    request: Request, limit: int, what: str, *, idle_seconds: float
) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Raises:
        LimitExceeded: it is, or says it will be, longer than *limit* bytes.
        HTTPException: 408, nothing came for so long.
    """
    _check_length(stated_length(request), limit, what)
    stream = aiter(request.stream())
    size = 0
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as cause:
            message = f"no more of the {what} came within {idle_seconds:g} s: send it again"
            raise HTTPException(408, message) from cause
        size += len(piece)
        _check_length(size, limit, what)
        if piece:
            yield piece


def stated_length(request: Request) -> int:
    """Return what ``Content-Length`` says, 0 where it says nothing readable."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


@asynccontextmanager
async def json_object(request: Request, parts: Deployment) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON object in the body, counted among all that are held just now.

    Raises:
        HTTPException: 415, the body says that it is something else; 408, it does not come.
        LimitExceeded: it is longer than ``max_json_bytes``, or would take too much memory.
        TooManyRequests: there are too many others.
        InvalidBody: it is no JSON object, or JSON that parsers read in different ways.
    """
    _check_type(request.headers.get("content-type", ""))
    with parts.bodies.share() as share:
        raw = await _whole(request, parts.settings, share)
        if len(raw) <= SMALL_BYTES:
            yield parse_object(bytes(raw))
        else:
            yield await _large_object(raw, share, parts.bodies.total)


async def _whole(request: Request, settings: Settings, share: Share) -> bytearray:
    """Return the body; a long one is in the share before it is in memory."""
    limit, whole = settings.max_json_bytes, bytearray()
    stated = stated_length(request)
    _check_length(stated, limit, BODY)
    if stated > SMALL_BYTES:
        await share.take(stated)
    try:
        async with asyncio.timeout(settings.json_seconds):
            async for piece in pieces(
                request, limit, BODY, idle_seconds=settings.body_idle_seconds
            ):
                if len(whole) + len(piece) > SMALL_BYTES and not share.size:
                    await share.take(limit)  # nobody has said how long it will be
                whole += piece
    except TimeoutError as cause:
        message = f"the body did not come within {settings.json_seconds:g} s: upload the files"
        raise HTTPException(408, message) from cause
    share.cut(len(whole))
    return whole


async def _large_object(raw: bytearray, share: Share, most: int) -> dict[str, Any]:
    """Parse in a thread, so that others are served, and after it is known what that takes."""
    bulk = await run_in_threadpool(bulk_of, raw)
    if bulk > most:
        raise LimitExceeded(
            "the body would take too much memory: send fewer values, and long texts in plain ASCII "
            "without \\u escapes; or upload the files and send their URLs"
        )
    share.grow(bulk)
    text = await run_in_threadpool(_text, raw)
    raw.clear()
    return await run_in_threadpool(_object, text)


def bulk_of(raw: bytes | bytearray) -> int:
    """Return how long a plain body would be that takes as much memory when it is parsed.

    Python keeps a text with one wide character in up to four bytes for each, and the smallest
    value in some 200; a plain body takes about three times its length.
    """
    wide = not raw.isascii() or b"\\u" in raw
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    return max(len(raw) * (WIDE if wide else 1), values * VALUE_BYTES)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in *raw*, read strictly.

    Refused: other encodings than UTF-8, keys that come twice, NaN and infinity, numbers out of
    range, half of a surrogate pair, NUL, nesting deeper than 32.

    Raises:
        InvalidBody: it is not such an object.
    """
    return _object(_text(raw))


def parse_value(raw: bytes) -> Any:
    """Return the JSON value in *raw*, read as strictly as an object.

    Raises:
        InvalidBody: it is none.
    """
    return _parsed(_text(raw))


def _text(raw: bytes | bytearray) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise _bad(f"byte {cause.start} is not UTF-8: send JSON as UTF-8") from cause


def _object(text: str) -> dict[str, Any]:
    value = _parsed(text)
    if not isinstance(value, dict):
        raise _bad("not a JSON object: send {…}")
    return value


def _parsed(text: str) -> Any:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except InvalidBody:
        raise
    except RecursionError as cause:
        raise _bad(f"nested deeper than {MAX_DEPTH}: send the documented body") from cause
    except ValueError as cause:
        raise _bad(f"no JSON: {shown(str(cause))}") from cause
    _check_text(value)
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
        message = f"Content-Type {shown(kind)!r} is not understood here: send application/json"
        raise HTTPException(415, message)


def _bad(message: str) -> InvalidBody:
    return InvalidBody(Fault(loc=("body",), message=message))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise _bad(f"an object has more than {MAX_KEYS} keys: send the documented body")
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _bad(f"the key {shown(repr(name))} comes twice: send it once")
        found[name] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise _bad(f"{name} is no number of JSON: send a finite one")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _bad(f"the number {shown(text)} is out of range")
    return value


def _check_text(value: object) -> None:
    for depth, text in _strings(value):
        if depth > MAX_DEPTH:
            raise _bad(f"nested deeper than {MAX_DEPTH}: send the documented body")
        if "\x00" in text:
            raise _bad("a text holds NUL: leave it out")
        if text.isascii():
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as cause:
            raise _bad("a text holds half of a surrogate pair: send whole characters") from cause


def _strings(root: object) -> Iterator[tuple[int, str]]:
    """Yield every text with how deep it lies; an empty one for each container."""
    waiting = [(1, root)]
    while waiting:
        depth, value = waiting.pop()
        if isinstance(value, str):
            yield depth, value
        elif isinstance(value, dict | list):
            yield depth, ""
            inside = [*value, *value.values()] if isinstance(value, dict) else value
            waiting += [(depth + 1, item) for item in inside]
