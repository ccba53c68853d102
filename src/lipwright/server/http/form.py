"""A generation whose files come along: ``multipart/form-data`` to sync.so's generate call.

``video`` and ``audio`` are files, streamed to disk; ``input`` and ``options`` are JSON; every other
field is text. Together they are the body that could have come as JSON, with the files as inputs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import Request

from lipwright.errors import LimitExceeded
from lipwright.jobs.model import Key
from lipwright.server.deployment import Deployment
from lipwright.server.errors import Fault, InvalidBody, shown
from lipwright.server.http.body import SMALL_BYTES, parse_value, pieces
from lipwright.server.http.multipart import FormReader, Head, boundary_of, parts_in
from lipwright.server.submit import Brought, scratch
from lipwright.server.uploads.quota import within_quota
from lipwright.server.uploads.receive import receive

FILES = ("video", "audio")
JSON_FIELDS = ("input", "options")
FIELD_BYTES = 64  # that a field takes, however short
LOC = ("body",)

Came = tuple[dict[str, Any], dict[str, Brought]]


def is_form(request: Request) -> bool:
    """Whether the body is a form that can be read."""
    return boundary_of(request.headers.get("content-type", "")) is not None


@asynccontextmanager
async def form_object(request: Request, parts: Deployment, key: Key) -> AsyncIterator[Came]:
    """Yield the body that a form stands for, and the files in it by the URL they have there.

    The files go with the block, unless they are moved away.

    Raises:
        InvalidBody: the form is damaged, or a part does not fit.
        LimitExceeded: a file or the fields are too long.
        QuotaExceeded: the uploads of the key would take up too much.
        PublishFailed: the disk does not take a file.
        HTTPException: 408, the body does not come.
    """
    form = FormReader(request.headers.get("content-type", ""), LOC)
    settings = parts.settings
    limit = len(FILES) * settings.max_upload_bytes + 2 * SMALL_BYTES
    body = pieces(request, limit, "form", idle_seconds=settings.body_idle_seconds)
    fields: dict[str, bytes] = {}
    files: dict[str, Brought] = {}
    with scratch(parts.incoming) as folder:
        async with AsyncExitStack() as stack:
            async for head, contents in parts_in(form, body):
                if head.field in fields or head.field in files:
                    raise form.bad(f"the field {shown(head.field)!r} comes twice: send it once")
                if head.filename is None:
                    fields[head.field] = await _text(contents, fields)
                    continue
                _check_file(head)
                counted = await stack.enter_async_context(within_quota(parts, key, contents, 0))
                path = folder / head.field
                received = await receive(counted, path, settings.max_upload_bytes)
                files[head.field] = Brought(path=path, name=head.filename, sha256=received.sha256)
        yield body_of(fields, files), {file.url: file for file in files.values()}


def body_of(fields: Mapping[str, bytes], files: Mapping[str, Brought]) -> dict[str, Any]:
    """Return the JSON body that a form stands for.

    Raises:
        InvalidBody: a field is not the JSON, or not the text, that it should be.
    """
    body = {name: _value(name, raw) for name, raw in fields.items()}
    given = body.get("input", [])
    if not isinstance(given, list):
        raise InvalidBody(Fault(loc=(*LOC, "input"), message="not a list: send [{…}]"))
    brought = [{"type": kind, "url": files[kind].url} for kind in FILES if kind in files]
    return {**body, "input": [*given, *brought]}


def _value(name: str, raw: bytes) -> Any:
    try:
        return parse_value(raw) if name in JSON_FIELDS else raw.decode("utf-8")
    except InvalidBody as cause:
        message = cause.faults[0].message
        raise InvalidBody(Fault(loc=(*LOC, name), message=message)) from cause
    except UnicodeDecodeError as cause:
        message = f"byte {cause.start} is not UTF-8: send text as UTF-8"
        raise InvalidBody(Fault(loc=(*LOC, shown(name)), message=message)) from cause


def _check_file(head: Head) -> None:
    if head.field not in FILES:
        message = f"unknown file {shown(head.field)!r}: send {' and '.join(FILES)}"
        raise InvalidBody(Fault(loc=LOC, message=message))


async def _text(contents: AsyncIterator[bytes], others: Mapping[str, bytes]) -> bytes:
    found = bytearray()
    room = SMALL_BYTES - sum(len(name) + len(raw) + FIELD_BYTES for name, raw in others.items())
    async for piece in contents:
        if len(found := found + piece) > room:
            break
    if len(found) > room:
        raise LimitExceeded(
            f"the fields of the form are over {SMALL_BYTES} bytes: send JSON, and the URLs of "
            "files uploaded before"
        )
    return bytes(found)
