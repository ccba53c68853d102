"""The generate call with attached files, as ``multipart/form-data``.

``video`` and ``audio`` are files, streamed to disk; ``input`` and ``options`` are JSON; all other
fields are text. Together they form the JSON body, with the files as additional inputs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import Request

from lipwright.errors import LimitExceeded
from lipwright.jobs.model import ApiKey
from lipwright.server.deployment import Deployment
from lipwright.server.errors import FieldError, InvalidBody, truncate
from lipwright.server.http.body import SMALL_BODY_BYTES, parse_json, stream_body
from lipwright.server.http.multipart import MultipartReader, PartHeader, iter_parts, parse_boundary
from lipwright.server.submit import AttachedFile, temporary_folder
from lipwright.server.uploads.quota import within_quota
from lipwright.server.uploads.receive import receive_file

FILES = ("video", "audio")
JSON_FIELDS = ("input", "options")
FIELD_BYTES = 64  # counted for each field besides its name and value
LOC = ("body",)

ParsedForm = tuple[dict[str, Any], dict[str, AttachedFile]]


def is_form(request: Request) -> bool:
    """Whether the body is ``multipart/form-data`` with a usable boundary."""
    return parse_boundary(request.headers.get("content-type", "")) is not None


@asynccontextmanager
async def read_form(
    request: Request, deployment: Deployment, key: ApiKey
) -> AsyncIterator[ParsedForm]:
    """Yield the equivalent JSON body, and the files by the URL of their input.

    Files that are still in place at the end of the block are removed.

    Raises:
        InvalidBody: the form is malformed, or a part is invalid.
        LimitExceeded: a file or the fields are too long.
        QuotaExceeded: the uploads of the key would exceed the quota.
        OutputError: a file cannot be stored.
        HTTPException: 408, the body does not arrive in time.
    """
    reader = MultipartReader(request.headers.get("content-type", ""), LOC)
    settings = deployment.settings
    limit = len(FILES) * settings.max_upload_bytes + 2 * SMALL_BODY_BYTES
    body = stream_body(request, limit, "form", idle_seconds=settings.body_idle_seconds)
    fields: dict[str, bytes] = {}
    files: dict[str, AttachedFile] = {}
    with temporary_folder(deployment.incoming) as folder:
        async with AsyncExitStack() as stack:
            async for header, chunks in iter_parts(reader, body):
                name = header.field
                if name in fields or name in files:
                    raise reader.error(f"the field {truncate(name)!r} comes twice: send it once")
                if header.filename is None:
                    fields[name] = await _read_field(chunks, fields)
                    continue
                _check_file(header)
                counted = await stack.enter_async_context(within_quota(deployment, key, chunks, 0))
                received = await receive_file(counted, folder / name, settings.max_upload_bytes)
                files[name] = AttachedFile(
                    path=received.path, name=header.filename, sha256=received.sha256
                )
        yield form_to_body(fields, files), {file.url: file for file in files.values()}


def form_to_body(fields: Mapping[str, bytes], files: Mapping[str, AttachedFile]) -> dict[str, Any]:
    """Return the JSON body that a form is equivalent to.

    Raises:
        InvalidBody: a field is not valid JSON or text.
    """
    body = {name: _parse_field(name, raw) for name, raw in fields.items()}
    inputs = body.get("input", [])
    if not isinstance(inputs, list):
        raise InvalidBody(FieldError(loc=(*LOC, "input"), message="not a list: send [{…}]"))
    attached = [{"type": kind, "url": files[kind].url} for kind in FILES if kind in files]
    return {**body, "input": [*inputs, *attached]}


def _parse_field(name: str, raw: bytes) -> Any:
    try:
        return parse_json(raw) if name in JSON_FIELDS else raw.decode("utf-8")
    except InvalidBody as cause:
        message = cause.field_errors[0].message
        raise InvalidBody(FieldError(loc=(*LOC, name), message=message)) from cause
    except UnicodeDecodeError as cause:
        message = f"byte {cause.start} is not UTF-8: send text as UTF-8"
        raise InvalidBody(FieldError(loc=(*LOC, truncate(name)), message=message)) from cause


def _check_file(header: PartHeader) -> None:
    if header.field not in FILES:
        message = f"unknown file {truncate(header.field)!r}: send {' and '.join(FILES)}"
        raise InvalidBody(FieldError(loc=LOC, message=message))


async def _read_field(chunks: AsyncIterator[bytes], others: Mapping[str, bytes]) -> bytes:
    used = sum(len(name) + len(raw) + FIELD_BYTES for name, raw in others.items())
    limit = SMALL_BODY_BYTES - used
    value = bytearray()
    async for chunk in chunks:
        if len(value := value + chunk) > limit:
            break
    if len(value) > limit:
        raise LimitExceeded(
            f"the fields of the form are over {SMALL_BODY_BYTES} bytes: send JSON, and the URLs of "
            "files uploaded before"
        )
    return bytes(value)
